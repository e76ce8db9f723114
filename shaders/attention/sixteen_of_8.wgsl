// Sixteen numbers of a lane are two pieces of 8. Siblings: sixteen_of_4.wgsl, sixteen_of_16.wgsl.
// Neighbouring lanes read neighbouring pieces; past the row they read its last piece.

struct Raw {
    a: vec4<u32>,
    b: vec4<u32>,
}

fn load_key(row: u32, place: u32) -> Raw {
    let first = row * ROW_PIECES;
    let a = keys[first + min(place, ROW_PIECES - 1u)];
    let b = keys[first + min(place + ROW_LANES, ROW_PIECES - 1u)];
    return Raw(a, b);
}

fn load_value(row: u32, place: u32) -> Raw {
    let first = row * ROW_PIECES;
    let a = values[first + min(place, ROW_PIECES - 1u)];
    let b = values[first + min(place + ROW_LANES, ROW_PIECES - 1u)];
    return Raw(a, b);
}

fn quad_0(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw.a, 0u);
}

fn quad_1(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw.a, 1u);
}

fn quad_2(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw.b, 0u);
}

fn quad_3(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw.b, 1u);
}

// Which quad of the row a lane's quad `at` is.
fn lane_quad(place: u32, at: u32) -> u32 {
    return 2u * (place + at / 2u * ROW_LANES) + at % 2u;
}
