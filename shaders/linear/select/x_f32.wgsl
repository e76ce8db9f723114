// f32 activations `[batch, cols]`, as words: what hardware does to subnormals must not move a channel.
// Sibling: x_f16.wgsl.

@group(0) @binding(4) var<storage, read> x: array<u32>;

fn x_at(channel: u32) -> f32 {
    return bitcast<f32>(x[vector * params.x_stride + channel]);
}

// Bits of the magnitude as f32, whose order is that of magnitudes; 0 for NaN.
fn magnitude_of(channel: u32) -> u32 {
    let bits = x[vector * params.x_stride + channel] & 0x7fffffffu;
    return select(bits, 0u, bits > 0x7f800000u);
}
