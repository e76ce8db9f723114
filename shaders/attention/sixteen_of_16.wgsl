// Sixteen numbers of a lane are a piece of 16, or half a piece of 32. Siblings: sixteen_of_4.wgsl, sixteen_of_8.wgsl.
// Neighbouring lanes read neighbouring pieces; past the row they read its last piece.

alias Raw = vec4<u32>;

fn load_key(row: u32, place: u32) -> Raw {
    let first = row * ROW_PIECES;
    return keys[first + min(4u * place / QUADS, ROW_PIECES - 1u)];
}

fn load_value(row: u32, place: u32) -> Raw {
    let first = row * ROW_PIECES;
    return values[first + min(4u * place / QUADS, ROW_PIECES - 1u)];
}

fn quad_0(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw, 4u * place % QUADS + 0u);
}

fn quad_1(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw, 4u * place % QUADS + 1u);
}

fn quad_2(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw, 4u * place % QUADS + 2u);
}

fn quad_3(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw, 4u * place % QUADS + 3u);
}

// Which quad of the row a lane's quad `at` is.
fn lane_quad(place: u32, at: u32) -> u32 {
    return 4u * place + at;
}
