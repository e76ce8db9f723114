// Keys that tell 32 buckets of magnitude, the first bucket the largest. Siblings: key_bits.wgsl, key_half.wgsl.

const KEY_BITS: u32 = 5u;

// The first bucket whose lower bound is reached, by halving; bounds never rise, the last is 0.
fn key_of(channel: u32) -> u32 {
    let rank = rank_of(channel);
    var bucket = 0u;
    for (var step = 16u; step > 0u; step /= 2u) {
        // The bucket is not among `bucket` .. `bucket + step` where the last of them is not reached.
        let last = bucket + step - 1u;
        bucket += select(0u, step, rank < params.bounds[last / 4u][last % 4u]);
    }
    return 31u - bucket;
}
