// Ranks of rows from the scores of several query rows: the largest, each less the largest of its query row.
// NaN where one is. Sibling: ranks_given.wgsl.

// [T H G][stride].
@group(0) @binding(21) var<storage, read> scores: array<vec4<f32>>;
// [T H G]: the largest as integers of the same order.
@group(0) @binding(22) var<storage, read> tops: array<u32>;

fn ranks_at(list: u32, quad: u32) -> vec4<f32> {
    var best = vec4<f32>(NO_KEY);
    var nan = vec4<f32>(0.0);
    for (var i = 0u; i < QUERIES; i += 1u) {
        let query = list * QUERIES + i;
        let own = scores[query * (params.stride / 4u) + quad];
        best = max(best, own - vec4<f32>(number_of(tops[query])));
        nan = select(nan, own, is_nan(own));
    }
    return select(best, nan, is_nan(nan));
}
