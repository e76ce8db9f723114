// Sixteen numbers of a lane are four pieces of 4. Siblings: sixteen_of_8.wgsl, sixteen_of_16.wgsl.
// Neighbouring lanes read neighbouring pieces; past the row they read its last piece.

struct Raw {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

fn load_key(row: u32, place: u32) -> Raw {
    let first = row * ROW_PIECES;
    let a = keys[first + min(place, ROW_PIECES - 1u)];
    let b = keys[first + min(place + ROW_LANES, ROW_PIECES - 1u)];
    let c = keys[first + min(place + 2u * ROW_LANES, ROW_PIECES - 1u)];
    let d = keys[first + min(place + 3u * ROW_LANES, ROW_PIECES - 1u)];
    return Raw(a, b, c, d);
}

fn load_value(row: u32, place: u32) -> Raw {
    let first = row * ROW_PIECES;
    let a = values[first + min(place, ROW_PIECES - 1u)];
    let b = values[first + min(place + ROW_LANES, ROW_PIECES - 1u)];
    let c = values[first + min(place + 2u * ROW_LANES, ROW_PIECES - 1u)];
    let d = values[first + min(place + 3u * ROW_LANES, ROW_PIECES - 1u)];
    return Raw(a, b, c, d);
}

fn quad_0(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw.a, 0u);
}

fn quad_1(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw.b, 0u);
}

fn quad_2(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw.c, 0u);
}

fn quad_3(raw: Raw, place: u32) -> vec4<f32> {
    return codes(raw.d, 0u);
}

// Which quad of the row a lane's quad `at` is.
fn lane_quad(place: u32, at: u32) -> u32 {
    return place + at * ROW_LANES;
}
