// Lanes that know of each other through workgroup memory alone: sums of sixteens, then over them.
// Sibling: lanes_subgroup.wgsl.
// Expects: const LANES, a multiple of 16.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

struct Scan {
    // The sum of the values of lower lanes.
    before: u32,
    // The sum of all.
    all: u32,
}

const SIXTEENS: u32 = LANES / 16u;

var<workgroup> scanned: array<u32, LANES>;
var<workgroup> scanned_groups: array<u32, SIXTEENS>;

fn index_of(lane: Lane) -> u32 {
    return lane.index;
}

// What lanes know of together: each of itself.
fn lowest_of(value: u32) -> u32 {
    return value;
}

fn highest_of(value: u32) -> u32 {
    return value;
}

// Whether a lane tells others of it.
fn tells(lane: Lane) -> bool {
    return true;
}

// To be called by all lanes, with a barrier between two calls.
fn scan(value: u32, lane: Lane) -> Scan {
    scanned[lane.index] = value;
    workgroupBarrier();
    let group = lane.index / 16u;
    let place = lane.index % 16u;
    var before = 0u;
    for (var i = 0u; i < 15u; i += 1u) {
        before += select(0u, scanned[16u * group + i], i < place);
    }
    if place == 15u {
        scanned_groups[group] = before + value;
    }
    workgroupBarrier();
    var all = 0u;
    for (var i = 0u; i < SIXTEENS; i += 1u) {
        let other = scanned_groups[i];
        before += select(0u, other, i < group);
        all += other;
    }
    return Scan(before, all);
}
