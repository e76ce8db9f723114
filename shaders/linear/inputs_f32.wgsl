// Inputs of a layer as f32. Sibling: inputs_f16.wgsl.

@group(0) @binding(1) var<storage, read> x: array<f32>;

fn x_at(at: u32) -> f32 {
    return x[at];
}
