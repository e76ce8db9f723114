// Channels ranked by the magnitudes of their activations. Sibling: rank_weighted.wgsl.

// Bits of an f32 that is not negative.
fn rank_of(channel: u32) -> u32 {
    return magnitude_of(channel);
}
