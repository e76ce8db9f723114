// The channels with the largest keys, ascending. One workgroup a batch of chunks.

// [batch, k].
@group(0) @binding(3) var<storage, read_write> list: array<u32>;

fn put(slot: u32, channel: u32) {
    list[vector * params.k + slot] = channel;
}

@compute @workgroup_size(256)
fn select_channels(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let batch = group.y * groups.x + group.x;
    if batch >= params.batches {
        return;
    }
    vector = group.z;
    select_batch(batch, lane);
}
