// Activations of f16 where columns, stride and offset are multiples of 8: a load a run; needs no feature.
// Siblings: x_f16.wgsl, x_f32.wgsl, x_f32_quads.wgsl.

@group(0) @binding(4) var<storage, read> x: array<vec4<u32>>;

// Columns `col` .. `col + 8` of one vector; 0 at and past `end`.
fn activations(vector: u32, col: u32, end: u32) -> Run {
    let at = (params.x_offset + vector * params.x_stride + min(col, end - 8u)) / 8u;
    let words = select(vec4<u32>(), x[at], col < end);
    return Run(
        vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)),
        vec4<f32>(unpack2x16float(words.z), unpack2x16float(words.w)),
    );
}
