// Channels ranked by the magnitudes of their activations times the norms of their residuals.
// Sibling: rank_plain.wgsl.

// f16, two a word.
@group(0) @binding(6) var<storage, read> norms: array<u32>;

// Bits of an f32 that is not negative; infinity times 0 is NaN and counts as 0.
fn rank_of(channel: u32) -> u32 {
    let norm = half_to_float((norms[channel / 2u] >> (16u * (channel & 1u))) & 0xffffu);
    let bits = bitcast<u32>(bitcast<f32>(magnitude_of(channel)) * norm) & 0x7fffffffu;
    return select(bits, 0u, bits > 0x7f800000u);
}
