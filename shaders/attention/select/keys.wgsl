// Scores as keys, whose order as u32 is that of the numbers.

@group(0) @binding(1) var<storage, read> scores: array<u32>;

fn is_nan(bits: u32) -> bool {
    return (bits & 0x7fffffffu) > 0x7f800000u;
}

// NaN and -0 count as 0.
fn key_of(bits: u32) -> u32 {
    if is_nan(bits) || bits == 0x80000000u {
        return 0x80000000u;
    }
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// The key of a block's pair `at`, whose score is `bits`.
fn key_at(place: Place, at: u32, bits: u32) -> u32 {
    let position = place.start + at;
    let always = position < params.sink || position >= params.recent_from;
    return select(key_of(bits), ALWAYS, always);
}

// The scores of a lane, `at = 256 i + index`; beyond the block's last that one again.
fn scores_of(place: Place, index: u32) -> array<u32, OWN> {
    var all: array<u32, OWN>;
    for (var i = 0u; i < OWN; i += 1u) {
        all[i] = scores[place.scores + min(256u * i + index, place.count - 1u)];
    }
    return all;
}
