// f16 activations, two a word; needs no feature. Sibling: x_f32.wgsl.

@group(0) @binding(4) var<storage, read> x: array<u32>;

fn x_half(channel: u32) -> u32 {
    return (x[channel / 2u] >> (16u * (channel & 1u))) & 0xffffu;
}

fn x_at(channel: u32) -> f32 {
    return unpack2x16float(x_half(channel)).x;
}

// Bits of the magnitude as f32, whose order is that of magnitudes; 0 for NaN.
fn magnitude_of(channel: u32) -> u32 {
    let half = x_half(channel) & 0x7fffu;
    let bits = select(bitcast<u32>(half_to_float(half)), 0x7f800000u, half == 0x7c00u);
    return select(bits, 0u, half > 0x7c00u);
}
