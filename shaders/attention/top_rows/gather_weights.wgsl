// What slices' rows that are not listed weigh. Sibling: gather_none.wgsl.
// Expects: weights.wgsl, slices.wgsl.

fn gather(beside: Beside, list: u32, index: u32) -> Beside {
    var all = beside;
    for (var i = 0u; i < QUERIES; i += 1u) {
        for (var slice = index; slice < params.slices; slice += LANES) {
            let at = part_at(list, slice, i);
            let sum = vec2<f32>(bitcast<f32>(work[at]), bitcast<f32>(work[at + 1u]));
            all.sums[i] = joined(all.sums[i], sum);
        }
    }
    return all;
}
