// Channels that every workgroup selects for itself: no workgroup waits for another, and no list
// passes through memory. Expects `select_batch`. Sibling: from_list.wgsl.

var<workgroup> chosen: array<u32, CAPACITY>;
var<private> batch_start: u32;

fn put(slot: u32, channel: u32) {
    // Some selections go through all slots for every batch; before the first the difference is huge.
    let place = slot - batch_start;
    if place < CAPACITY {
        chosen[place] = channel;
    }
}

// Selects the batch that begins at `slot`, unless it is the only one and there already.
fn prepare(slot: u32, fresh: bool, lane: Lane) {
    if fresh || params.batch_slots < params.k {
        // The batch before may still be read.
        workgroupBarrier();
        batch_start = slot;
        select_batch(slot / params.batch_slots, lane);
        workgroupBarrier();
    }
}

fn channel_of(slot: u32) -> u32 {
    return chosen[slot - batch_start];
}
