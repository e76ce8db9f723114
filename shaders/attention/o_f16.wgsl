// Outputs of f16 in pairs; needs lib/half.wgsl. Sibling: o_f32.wgsl.

@group(0) @binding(7) var<storage, read_write> o: array<vec2<u32>>;

fn store_o(at: u32, value: vec4<f32>) {
    let low = float_to_half(value.x) | (float_to_half(value.y) << 16u);
    let high = float_to_half(value.z) | (float_to_half(value.w) << 16u);
    o[at] = vec2<u32>(low, high);
}
