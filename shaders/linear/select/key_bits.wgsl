// Keys with the order of what channels are ranked by, exact after four digits of 8 bits.
// Siblings: key_half.wgsl, key_bucket.wgsl.

const DIGITS: u32 = 4u;

// The sign is 0 and makes room: the first digit is the exponent.
fn key_of(channel: u32) -> u32 {
    return rank_of(channel) << 1u;
}
