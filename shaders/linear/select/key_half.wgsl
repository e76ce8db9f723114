// Keys with the order of magnitudes of f16: its bits without the sign; 0 for NaN.
// Siblings: key_bits.wgsl, key_bucket.wgsl.

const KEY_BITS: u32 = 15u;

fn key_of(channel: u32) -> u32 {
    let half = x_half(channel) & 0x7fffu;
    return select(half, 0u, half > 0x7c00u);
}
