// As many steps as a search takes that goes step by step: from the elements of either side in order, and
// their sums. Every query row has a list of LIST magnitudes and LIST sums of each side.
// Expects: const LIST (a power of two, 256 or more, no budget above it). Siblings: low_cheap.wgsl,
// low_all.wgsl.

@group(0) @binding(28) var<storage, read_write> work: array<u32>;

const OWN: u32 = LIST / HALF;

var<workgroup> own_sums: array<vec2<u32>, 256>;
var<workgroup> fewest: atomic<u32>;

fn magnitudes_at(row: u32, side: u32) -> u32 {
    return (2u * row + side) * 3u * LIST;
}

// Lists what a lane's walks take, and zeros after what its side takes.
fn fill_list(list: u32, lane: Lane) {
    let side = side_of(lane);
    let own = sum_above();
    equal_lanes[lane.index] = own;
    workgroupBarrier();
    var at = 0u;
    var all = 0u;
    for (var i = 0u; i < HALF; i += 1u) {
        let other = equal_lanes[HALF * side + i];
        at += select(0u, other, i < lane.index % HALF);
        all += other;
    }
    for (var i = 0u; i < EACH; i += 1u) {
        for (var k = 0u; k < walks[i].above; k += 1u) {
            work[list + at] = magnitude(walks[i], k);
            at += 1u;
        }
    }
    for (var i = all + lane.index % HALF; i < LIST; i += HALF) {
        work[list + i] = 0u;
    }
    storageBarrier();
}

// A bitonic sort, the largest first.
fn sort_list(list: u32, lane: Lane) {
    for (var block = 2u; block <= LIST; block *= 2u) {
        for (var distance = block / 2u; distance > 0u; distance /= 2u) {
            for (var i = lane.index % HALF; i < LIST / 2u; i += HALF) {
                let first = 2u * distance * (i / distance) + i % distance;
                let one = work[list + first];
                let other = work[list + first + distance];
                let falls = (first & block) == 0u;
                if (one < other) == falls {
                    work[list + first] = other;
                    work[list + first + distance] = one;
                }
            }
            storageBarrier();
        }
    }
}

// Sums of the list's first 1, 2, .. elements.
fn sum_list(list: u32, lane: Lane) {
    let begin = lane.index % HALF * OWN;
    var sum = vec2<u32>(0u);
    for (var i = begin; i < begin + OWN; i += 1u) {
        sum = add_wide(sum, vec2<u32>(work[list + i], 0u));
    }
    own_sums[lane.index] = sum;
    workgroupBarrier();
    sum = vec2<u32>(0u);
    for (var i = HALF * side_of(lane); i < lane.index; i += 1u) {
        sum = add_wide(sum, own_sums[i]);
    }
    for (var i = begin; i < begin + OWN; i += 1u) {
        sum = add_wide(sum, vec2<u32>(work[list + i], 0u));
        work[list + LIST + 2u * i] = sum.x;
        work[list + LIST + 2u * i + 1u] = sum.y;
    }
    storageBarrier();
}

// The sum of the first `count`.
fn sum_to(list: u32, count: u32) -> vec2<u32> {
    if count == 0u {
        return vec2<u32>(0u);
    }
    let at = list + LIST + 2u * (count - 1u);
    return vec2<u32>(work[at], work[at + 1u]);
}

// Steps on the low side that are allowed once the high side has taken `taken`: as many as sums of the
// first 0 to `steps` elements are within its own.
fn allowed(high: u32, low: u32, taken: u32, steps: u32) -> u32 {
    let limit = sum_to(high, taken);
    var count = 0u;
    var end = select(steps + 1u, 0u, taken == 0u);
    while count < end {
        let middle = (count + end) / 2u;
        if at_most(sum_to(low, middle), limit) {
            count = middle + 1u;
        } else {
            end = middle;
        }
    }
    return count;
}

// Steps on the low side, where `most` are left to take, and what it takes with them. To be called by all
// lanes.
fn take_low(most: u32, row: u32, steps: u32, lane: Lane) -> u32 {
    let side = side_of(lane);
    let high = magnitudes_at(row, 0u);
    let low = magnitudes_at(row, 1u);
    let list = select(high, low, side == 1u);
    if lane.index == 0u {
        atomicStore(&fewest, steps);
    }
    fill_list(list, lane);
    sort_list(list, lane);
    sum_list(list, lane);
    for (var taken = lane.index; taken <= steps; taken += 256u) {
        atomicMin(&fewest, min(allowed(high, low, taken, steps), most) + steps - taken);
    }
    workgroupBarrier();
    let low_steps = min(atomicLoad(&fewest), most);
    var threshold = 0u;
    if low_steps > 0u {
        threshold = work[low + low_steps - 1u];
    }
    // Where only elements of 0 would be left out, all others are taken.
    let fewer = side == 1u && (threshold > 0u || low_steps == 0u);
    for (var i = 0u; i < EACH; i += 1u) {
        let taken = walks[i].above;
        walks[i].above = select(taken, 0u, fewer);
        walks[i].reached = taken;
        if fewer && threshold > 0u {
            let counts = counts_of(walks[i], vec3<u32>(threshold + 1u, threshold, threshold));
            walks[i].above = counts.x;
            walks[i].reached = counts.y;
        }
    }
    add_up(vec3<u32>(sum_above(), 0u, 0u), lane);
    take_equal(select(0u, low_steps - min(total(1u).x, low_steps), fewer), lane);
    return low_steps;
}
