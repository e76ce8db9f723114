// Activations of f16, two a word, any number of columns, anywhere; needs no feature.
// Siblings: x_f16_quads.wgsl, x_f32.wgsl, x_f32_quads.wgsl.

@group(0) @binding(4) var<storage, read> x: array<u32>;

// Columns `col` .. `col + 8` of one vector; 0 at and past `end`, whatever the buffer holds there.
fn activations(vector: u32, col: u32, end: u32) -> Run {
    let base = params.x_offset + vector * params.x_stride;
    return Run(four_of_x(base, col, end), four_of_x(base, col + 4u, end));
}

fn four_of_x(base: u32, col: u32, end: u32) -> vec4<f32> {
    let at = vec4<u32>(col, col + 1u, col + 2u, col + 3u);
    let safe = base + min(at, vec4<u32>(end - 1u));
    let values = vec4<f32>(half_of_x(safe.x), half_of_x(safe.y), half_of_x(safe.z), half_of_x(safe.w));
    return select(vec4<f32>(), values, at < vec4<u32>(end));
}

// Element `at`, which may begin within a word.
fn half_of_x(at: u32) -> f32 {
    let both = unpack2x16float(x[at / 2u]);
    return select(both.x, both.y, (at & 1u) == 1u);
}
