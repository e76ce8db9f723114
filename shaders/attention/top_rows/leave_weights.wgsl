// What a slice's rows that are not listed weigh is left for the last launch. Sibling: leave_none.wgsl.
// Expects: weights.wgsl, slices.wgsl.

// To be called by all lanes.
fn leave(beside: Beside, list: u32, slice: u32, lane: Lane) {
    for (var i = 0u; i < QUERIES; i += 1u) {
        let sum = sum_of_lanes(beside, i, lane);
        if index_of(lane) == 0u {
            let at = part_at(list, slice, i);
            work[at] = bitcast<u32>(sum.x);
            work[at + 1u] = bitcast<u32>(sum.y);
        }
    }
}
