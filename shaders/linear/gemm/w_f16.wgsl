// Weights of f16, two a word, any number of columns, anywhere; needs no feature.
// Siblings: w_f16_quads.wgsl, w_f32.wgsl, w_f32_quads.wgsl.

@group(0) @binding(1) var<storage, read> w: array<u32>;

// Columns `col` .. `col + 8` of one row; 0 at and past `end`, whatever the buffer holds there.
fn weights(row: u32, col: u32, end: u32) -> Run {
    let base = params.w_offset + row * params.w_stride;
    return Run(four_of_w(base, col, end), four_of_w(base, col + 4u, end));
}

fn four_of_w(base: u32, col: u32, end: u32) -> vec4<f32> {
    let at = vec4<u32>(col, col + 1u, col + 2u, col + 3u);
    let safe = base + min(at, vec4<u32>(end - 1u));
    let values = vec4<f32>(half_of_w(safe.x), half_of_w(safe.y), half_of_w(safe.z), half_of_w(safe.w));
    return select(vec4<f32>(), values, at < vec4<u32>(end));
}

// Element `at`, which may begin within a word.
fn half_of_w(at: u32) -> f32 {
    let both = unpack2x16float(w[at / 2u]);
    return select(both.x, both.y, (at & 1u) == 1u);
}
