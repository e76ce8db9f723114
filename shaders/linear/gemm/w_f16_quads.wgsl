// Weights of f16 where columns, stride and offset are multiples of 8: a load a run; needs no feature.
// Siblings: w_f16.wgsl, w_f32.wgsl, w_f32_quads.wgsl.

@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;

// Columns `col` .. `col + 8` of one row; 0 at and past `end`.
fn weights(row: u32, col: u32, end: u32) -> Run {
    let at = (params.w_offset + row * params.w_stride + min(col, end - 8u)) / 8u;
    let words = select(vec4<u32>(), w[at], col < end);
    return Run(
        vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)),
        vec4<f32>(unpack2x16float(words.z), unpack2x16float(words.w)),
    );
}
