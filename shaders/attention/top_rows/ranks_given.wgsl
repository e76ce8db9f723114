// Ranks of rows as they are stored: of lists of several query rows behind the scores. Sibling:
// ranks_made.wgsl.

// [T H G][stride], then perhaps ranks [lists][stride].
@group(0) @binding(21) var<storage, read> scores: array<vec4<f32>>;

fn ranks_at(list: u32, quad: u32) -> vec4<f32> {
    return scores[params.ranks + list * (params.stride / 4u) + quad];
}
