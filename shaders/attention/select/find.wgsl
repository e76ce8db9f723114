// A digit of the last key that is wanted of a segment: of bins from the largest down the one in which the
// wanted number is reached. Leaves zeros for the next digit.

@group(0) @binding(2) var<storage, read> budgets: array<u32>;
@group(0) @binding(5) var<storage, read_write> report: array<u32>;
@group(0) @binding(6) var<storage, read_write> work: array<u32>;

// Bins of the digit, and of a lane.
const DIGIT: u32 = 1u << WIDTH;
const EACH: u32 = DIGIT / 256u;

// The number that is to be kept, and whether the last key goes too where it is reached. No budget is below
// the pairs that are always kept.
fn budget_of(segment: u32) -> vec2<u32> {
    let size = params.segment_rows * params.n;
    let free = max(params.recent_from, params.sink) - params.sink;
    let budget = clamp(budgets[segment], params.segment_rows * (params.n - free), size);
    return vec2<u32>(budget, u32(params.strict == 1u && budget < size));
}

fn run(group: u32, lane: Lane) {
    let segment = group;
    if segment >= params.segments {
        return;
    }
    let index = index_of(lane);
    let budget = budget_of(segment);
    let at = report_of(segment);
    var known = 0u;
    var wanted = max(budget.x, budget.y);
    if SHIFT < 21u {
        known = report[at + KEY];
        wanted = report[at + WANTED];
    }
    var counts: array<u32, EACH>;
    var own = 0u;
    for (var i = 0u; i < EACH; i += 1u) {
        let bin = segment * BINS + DIGIT - 1u - (EACH * index + i);
        counts[i] = work[bin];
        work[bin] = 0u;
        own += counts[i];
    }
    // Bins of lanes below hold larger keys.
    var larger = scan(own, index).before;
    for (var i = 0u; i < EACH; i += 1u) {
        let none = wanted == 0u && index == 0u && i == 0u;
        if none || (larger < wanted && wanted <= larger + counts[i]) {
            let key = known | ((DIGIT - 1u - (EACH * index + i)) << SHIFT);
            // Pairs that are always kept are kept.
            let without = SHIFT == 0u && budget.y == 1u && key != ALWAYS;
            report[at + KEY] = key;
            report[at + WANTED] = select(wanted - larger, 0u, none || without);
            report[at + EQUAL] = counts[i];
        }
        larger += counts[i];
    }
}
