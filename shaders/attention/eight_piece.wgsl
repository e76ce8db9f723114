// Eight numbers of a row are within one piece of 16 bytes. Sibling: eight_pieces.wgsl.

alias Raw = vec4<u32>;

fn load_key(row: u32, eight: u32) -> Raw {
    return keys[row * ROW_PIECES + 2u * eight / QUADS];
}

fn load_value(row: u32, eight: u32) -> Raw {
    return values[row * ROW_PIECES + 2u * eight / QUADS];
}

fn low_quad(raw: Raw, eight: u32, codec: Codec) -> vec4<f32> {
    return decode(raw, 2u * eight % QUADS, codec);
}

fn high_quad(raw: Raw, eight: u32, codec: Codec) -> vec4<f32> {
    return decode(raw, 2u * eight % QUADS + 1u, codec);
}
