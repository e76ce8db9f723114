// Lanes that know of each other through workgroup memory alone. Sibling: lanes_subgroup.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

fn index_of(lane: Lane) -> u32 {
    return lane.index;
}
