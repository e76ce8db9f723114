// Activations of f32, any number of columns, anywhere.
// Siblings: x_f32_quads.wgsl, x_f16.wgsl, x_f16_quads.wgsl.

@group(0) @binding(4) var<storage, read> x: array<f32>;

// Columns `col` .. `col + 8` of one vector; 0 at and past `end`, whatever the buffer holds there.
fn activations(vector: u32, col: u32, end: u32) -> Run {
    let base = params.x_offset + vector * params.x_stride;
    return Run(four_of_x(base, col, end), four_of_x(base, col + 4u, end));
}

// Loads are clamped and results selected rather than branched around.
fn four_of_x(base: u32, col: u32, end: u32) -> vec4<f32> {
    let at = vec4<u32>(col, col + 1u, col + 2u, col + 3u);
    let safe = base + min(at, vec4<u32>(end - 1u));
    let values = vec4<f32>(x[safe.x], x[safe.y], x[safe.z], x[safe.w]);
    return select(vec4<f32>(), values, at < vec4<u32>(end));
}
