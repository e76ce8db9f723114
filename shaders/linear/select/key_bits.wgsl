// Keys with the order of what channels are ranked by: an f32 without its sign.
// Siblings: key_half.wgsl, key_bucket.wgsl.

const KEY_BITS: u32 = 31u;

fn key_of(channel: u32) -> u32 {
    return rank_of(channel);
}
