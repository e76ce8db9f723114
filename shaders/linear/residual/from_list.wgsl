// The channels of a list that another kernel wrote. Sibling: from_own.wgsl.

// [batch, k].
@group(0) @binding(3) var<storage, read> list: array<u32>;

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

fn prepare(slot: u32, fresh: bool, lane: Lane) {}

// Below the number of channels, whatever the list holds: nothing else is between it and memory.
fn channel_of(slot: u32) -> u32 {
    return min(list[vector * params.k + slot], params.cols - 1u);
}
