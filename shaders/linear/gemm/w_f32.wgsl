// Weights of f32, any number of columns, anywhere.
// Siblings: w_f32_quads.wgsl, w_f16.wgsl, w_f16_quads.wgsl.

@group(0) @binding(1) var<storage, read> w: array<f32>;

// Columns `col` .. `col + 8` of one row; 0 at and past `end`, whatever the buffer holds there.
fn weights(row: u32, col: u32, end: u32) -> Run {
    let base = params.w_offset + row * params.w_stride;
    return Run(four_of_w(base, col, end), four_of_w(base, col + 4u, end));
}

// Loads are clamped and results selected rather than branched around.
fn four_of_w(base: u32, col: u32, end: u32) -> vec4<f32> {
    let at = vec4<u32>(col, col + 1u, col + 2u, col + 3u);
    let safe = base + min(at, vec4<u32>(end - 1u));
    let values = vec4<f32>(w[safe.x], w[safe.y], w[safe.z], w[safe.w]);
    return select(vec4<f32>(), values, at < vec4<u32>(end));
}
