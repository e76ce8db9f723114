// f16 activations `[batch, cols]`, two a word without padding; needs no feature, and widens them as integers: what hardware does to
// subnormals must not move a channel. Sibling: x_f32.wgsl.

@group(0) @binding(4) var<storage, read> x: array<u32>;

fn x_half(channel: u32) -> u32 {
    let element = vector * params.x_stride + channel;
    return (x[element / 2u] >> (16u * (element & 1u))) & 0xffffu;
}

// Bits as f32 of an f16 without its sign; infinity and NaN are what tables do not hold.
fn widened(half: u32) -> u32 {
    let special = 0x7f800000u | (half << 13u);
    return select(bitcast<u32>(half_to_float(half)), special, half >= 0x7c00u);
}

fn x_at(channel: u32) -> f32 {
    let half = x_half(channel);
    return bitcast<f32>(widened(half & 0x7fffu) | ((half & 0x8000u) << 16u));
}

// Bits of the magnitude as f32, whose order is that of magnitudes; 0 for NaN.
fn magnitude_of(channel: u32) -> u32 {
    let bits = widened(x_half(channel) & 0x7fffu);
    return select(bits, 0u, bits > 0x7f800000u);
}
