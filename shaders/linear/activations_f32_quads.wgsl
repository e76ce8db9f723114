// f32 activations where the columns are a multiple of 32, so that no quad is cut.

@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;

fn activations(col: u32) -> vec4<f32> {
    return x[col / 4u];
}
