// Weights of f32 where the columns are a multiple of 8 and stride and offset of 4: no run is cut.
// Siblings: w_f32.wgsl, w_f16.wgsl, w_f16_quads.wgsl.

@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;

// Columns `col` .. `col + 8` of one row; 0 at and past `end`.
fn weights(row: u32, col: u32, end: u32) -> Run {
    let at = (params.w_offset + row * params.w_stride + min(col, end - 8u)) / 4u;
    let inside = col < end;
    return Run(select(vec4<f32>(), w[at], inside), select(vec4<f32>(), w[at + 1u], inside));
}
