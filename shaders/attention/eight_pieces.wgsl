// Eight numbers of a row are two pieces of 16 bytes. Sibling: eight_piece.wgsl.

struct Raw {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn load_key(row: u32, eight: u32) -> Raw {
    let at = row * ROW_PIECES + 2u * eight;
    return Raw(keys[at], keys[at + 1u]);
}

fn load_value(row: u32, eight: u32) -> Raw {
    let at = row * ROW_PIECES + 2u * eight;
    return Raw(values[at], values[at + 1u]);
}

fn low_quad(raw: Raw, eight: u32, codec: Codec) -> vec4<f32> {
    return decode(raw.low, 0u, codec);
}

fn high_quad(raw: Raw, eight: u32, codec: Codec) -> vec4<f32> {
    return decode(raw.high, 0u, codec);
}
