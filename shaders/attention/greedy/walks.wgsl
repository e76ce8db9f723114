// Walks over columns from their largest products, and from their smallest: the same with products of the
// other sign. The lower half of the lanes has the first, the upper half the second, each EACH columns.
// Expects: const DIM, const EACH, const SPAN (products and sums of either sign are at most 2^SPAN).

const HALF: u32 = 128u;
// Rounds after which a threshold is certain: each leaves a quarter, the first a third.
const ROUNDS: u32 = SPAN / 2u + 3u;

struct Walk {
    factor: f32,
    // The column's first element, and how many it has.
    first: u32,
    rows: u32,
    // Elements that are above the threshold, and those that reach it; in the end both are what is taken.
    above: u32,
    reached: u32,
}

var<private> walks: array<Walk, EACH>;

var<workgroup> finished: vec2<u32>;
var<workgroup> equal_lanes: array<u32, 256>;
var<workgroup> equal_groups: array<u32, 16>;

fn side_of(lane: Lane) -> u32 {
    return lane.index / HALF;
}

// The column `i` of a lane.
fn column_of(lane: Lane, i: u32) -> u32 {
    return EACH * (lane.index % HALF) + i;
}

// Where element `at` of a walk is in its column.
fn place_of(walk: Walk, at: u32) -> u32 {
    return select(walk.rows - 1u - at, at, walk.factor < 0.0);
}

fn magnitude(walk: Walk, at: u32) -> u32 {
    return u32(max(product(walk.factor, number(walk.first + place_of(walk, at))), 0));
}

fn magnitudes_of(walk: Walk, at: vec3<u32>) -> vec3<u32> {
    // A search that has ended may be behind the last.
    let there = min(at, vec3<u32>(walk.reached - 1u));
    return vec3<u32>(
        magnitude(walk, there.x),
        magnitude(walk, there.y),
        magnitude(walk, there.z),
    );
}

// How many elements reach each of three thresholds: between `above` and `reached`. Three elements of each
// at once, which leave a quarter of where it may end: what takes time is waiting for memory.
fn counts_of(walk: Walk, thresholds: vec3<u32>) -> vec3<u32> {
    var low = vec3<u32>(walk.above);
    var high = vec3<u32>(walk.reached);
    while any(low < high) {
        let width = high - low;
        let first = low + width / 4u;
        let second = low + width / 2u;
        let third = low + 3u * width / 4u;
        let one = magnitudes_of(walk, first) >= thresholds;
        let two = magnitudes_of(walk, second) >= thresholds;
        let three = magnitudes_of(walk, third) >= thresholds;
        let open = low < high;
        // What an element reaches those before it do.
        let end = select(first, select(second, select(third, high, three), two), one);
        let begin = select(low, select(first, select(second, third, three), two) + 1u, one);
        low = select(low, begin, open);
        high = select(high, end, open);
    }
    return low;
}

fn sum_above() -> u32 {
    var sum = 0u;
    for (var i = 0u; i < EACH; i += 1u) {
        sum += walks[i].above;
    }
    return sum;
}

// Takes `rest` of a side's elements that are at the threshold, by columns. To be called by all lanes.
fn take_equal(rest: u32, lane: Lane) {
    var equal = 0u;
    for (var i = 0u; i < EACH; i += 1u) {
        equal += walks[i].reached - walks[i].above;
    }
    equal_lanes[lane.index] = equal;
    workgroupBarrier();
    let group = lane.index / 16u;
    var before = 0u;
    for (var i = 16u * group; i < lane.index; i += 1u) {
        before += equal_lanes[i];
    }
    if lane.index % 16u == 15u {
        equal_groups[group] = before + equal;
    }
    workgroupBarrier();
    for (var i = 8u * side_of(lane); i < group; i += 1u) {
        before += equal_groups[i];
    }
    for (var i = 0u; i < EACH; i += 1u) {
        let own = walks[i].reached - walks[i].above;
        walks[i].above += min(own, max(rest, before) - before);
        walks[i].reached = walks[i].above;
        before += own;
    }
}

// The first `steps` elements of either side that are above 0. To be called by all lanes.
fn take_first(steps: u32, lane: Lane) {
    let side = side_of(lane);
    // More than `steps` elements reach `low`, unless it is 1, and `gone` are above `high`.
    var low = 1u;
    var high = 1u << SPAN;
    var gone = 0u;
    var done = false;
    for (var i = 0u; i < EACH; i += 1u) {
        walks[i].above = 0u;
        walks[i].reached = walks[i].rows;
    }
    for (var round = 0u; round < ROUNDS; round += 1u) {
        if lane.index % HALF == 0u {
            finished[side] = u32(done);
        }
        let both = workgroupUniformLoad(&finished);
        if both.x + both.y == 2u {
            break;
        }
        var thresholds = low + ((high - low) * vec3<u32>(1u, 2u, 3u) + 3u) / 4u;
        if round == 0u {
            thresholds = low + (high - low) / 3u * vec3<u32>(0u, 1u, 2u);
        }
        var counts: array<vec3<u32>, EACH>;
        var sums = vec3<u32>(0u);
        if !done {
            for (var i = 0u; i < EACH; i += 1u) {
                counts[i] = counts_of(walks[i], thresholds);
                sums += counts[i];
            }
        }
        add_up(sums, lane);
        if !done {
            let all = total(side);
            // From the largest threshold, so that the smallest of those with few elements counts last.
            for (var k = 3u; k > 0u; k -= 1u) {
                if all[k - 1u] <= steps {
                    high = thresholds[k - 1u] - 1u;
                    gone = all[k - 1u];
                    for (var i = 0u; i < EACH; i += 1u) {
                        walks[i].above = counts[i][k - 1u];
                    }
                }
            }
            for (var k = 0u; k < 3u; k += 1u) {
                if all[k] > steps {
                    low = thresholds[k];
                    for (var i = 0u; i < EACH; i += 1u) {
                        walks[i].reached = counts[i][k];
                    }
                }
            }
            done = low >= high || gone == steps;
        }
    }
    if low > high {
        // All that are above 0.
        gone = steps;
    }
    take_equal(steps - gone, lane);
}
