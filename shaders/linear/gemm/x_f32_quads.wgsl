// Activations of f32 where the columns are a multiple of 8 and stride and offset of 4: no run is cut.
// Siblings: x_f32.wgsl, x_f16.wgsl, x_f16_quads.wgsl.

@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;

// Columns `col` .. `col + 8` of one vector; 0 at and past `end`.
fn activations(vector: u32, col: u32, end: u32) -> Run {
    let at = (params.x_offset + vector * params.x_stride + min(col, end - 8u)) / 4u;
    let inside = col < end;
    return Run(select(vec4<f32>(), x[at], inside), select(vec4<f32>(), x[at + 1u], inside));
}
