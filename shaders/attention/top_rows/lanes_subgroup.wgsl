// Lanes in subgroups: sums of each, then over them. Sibling: lanes_plain.wgsl.
// Expects: const LANES, SUBGROUPS, the most that there can be; subgroups without idle lanes.

struct Lane {
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) place: u32,
    @builtin(subgroup_size) size: u32,
}

struct Scan {
    // The sum of the values of lower lanes.
    before: u32,
    // The sum of all.
    all: u32,
}

var<workgroup> scanned: array<u32, SUBGROUPS>;

fn index_of(lane: Lane) -> u32 {
    return lane.subgroup * lane.size + lane.place;
}

// What lanes know of together: all of a subgroup.
fn lowest_of(value: u32) -> u32 {
    return subgroupMin(value);
}

fn highest_of(value: u32) -> u32 {
    return subgroupMax(value);
}

// Whether a lane tells others of it.
fn tells(lane: Lane) -> bool {
    return lane.place == 0u;
}

// To be called by all lanes, with a barrier between two calls.
fn scan(value: u32, lane: Lane) -> Scan {
    let before = subgroupExclusiveAdd(value);
    if lane.place == lane.size - 1u {
        scanned[lane.subgroup] = before + value;
    }
    workgroupBarrier();
    var lower = 0u;
    var all = 0u;
    for (var i = lane.place; i < LANES / lane.size; i += lane.size) {
        let sum = scanned[i];
        all += sum;
        lower += select(0u, sum, i < lane.subgroup);
    }
    return Scan(before + subgroupAdd(lower), subgroupAdd(all));
}
