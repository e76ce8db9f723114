// Outputs of f32. Sibling: o_f16.wgsl.

@group(0) @binding(7) var<storage, read_write> o: array<vec4<f32>>;

fn store_o(at: u32, value: vec4<f32>) {
    o[at] = value;
}
