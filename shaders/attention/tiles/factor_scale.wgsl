// Codes of keys times a scale a row are the numbers. Sibling: factor_none.wgsl.

var<workgroup> factors: array<f32, 64>;

fn stage_factors(segment: Segment, first_key: u32, last_key: u32, index: u32) {
    if index < TILE {
        factors[index] = key_codec(row_of(segment, first_key, last_key, index));
    }
}

fn four_factors(at: u32) -> vec4<f32> {
    return vec4<f32>(factors[at], factors[at + 2u], factors[at + 4u], factors[at + 6u]);
}

// Products of a lane's vector and keys.
fn scaled_block(x: Block, lane: Lane) -> Block {
    let at = lane.own / 16u;
    return Block(
        x.a * four_factors(at),
        x.b * four_factors(at + 8u),
        x.c * four_factors(at + 16u),
        x.d * four_factors(at + 24u),
        x.e * four_factors(at + 32u),
        x.f * four_factors(at + 40u),
        x.g * four_factors(at + 48u),
        x.h * four_factors(at + 56u),
    );
}

fn key_factor(row: u32) -> f32 {
    return key_codec(row);
}
