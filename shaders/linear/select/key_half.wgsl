// Keys with the order of magnitudes of f16, exact after two digits of 8 bits.
// Siblings: key_bits.wgsl, key_bucket.wgsl.

const DIGITS: u32 = 2u;

// As f32 they are 0, or from 2^-24 on, or infinity, which 2^16 stands for; their mantissas end in 13
// zeros. Counted from 2^-25 on, 29 bits are left, and the last 13 of them stay 0.
fn key_of(channel: u32) -> u32 {
    return (clamp(rank_of(channel), 0x33000000u, 0x47800000u) - 0x33000000u) << 3u;
}
