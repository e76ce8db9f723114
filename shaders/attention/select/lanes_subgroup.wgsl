// Lanes in subgroups of `SUBGROUP` lanes, a power of two up to 128. Sibling: lanes_plain.wgsl.

struct Lane {
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) place: u32,
}

fn index_of(lane: Lane) -> u32 {
    return lane.subgroup * SUBGROUP + lane.place;
}
