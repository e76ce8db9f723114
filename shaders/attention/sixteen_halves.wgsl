// Keys and values of f16, as they are: sixteen numbers of a lane are two pieces of 8. In place of
// element_f16.wgsl and sixteen_of_8.wgsl where there is f16 arithmetic.
// Neighbouring lanes read neighbouring pieces; past the row they read its last piece.

struct Piece {
    low: vec4<f16>,
    high: vec4<f16>,
}

@group(0) @binding(2) var<storage, read> keys: array<Piece>;
@group(0) @binding(3) var<storage, read> values: array<Piece>;

// What a row's codes are made numbers with.
alias Codec = u32;

fn key_codec(row: u32) -> Codec {
    return 0u;
}

fn value_codec(row: u32) -> Codec {
    return 0u;
}

struct Raw {
    a: vec4<f16>,
    b: vec4<f16>,
    c: vec4<f16>,
    d: vec4<f16>,
}

fn load_key(row: u32, place: u32) -> Raw {
    let first = row * ROW_PIECES;
    let a = keys[first + min(place, ROW_PIECES - 1u)];
    let b = keys[first + min(place + ROW_LANES, ROW_PIECES - 1u)];
    return Raw(a.low, a.high, b.low, b.high);
}

fn load_value(row: u32, place: u32) -> Raw {
    let first = row * ROW_PIECES;
    let a = values[first + min(place, ROW_PIECES - 1u)];
    let b = values[first + min(place + ROW_LANES, ROW_PIECES - 1u)];
    return Raw(a.low, a.high, b.low, b.high);
}

fn quad_0(raw: Raw, place: u32) -> vec4<f32> {
    return vec4<f32>(raw.a);
}

fn quad_1(raw: Raw, place: u32) -> vec4<f32> {
    return vec4<f32>(raw.b);
}

fn quad_2(raw: Raw, place: u32) -> vec4<f32> {
    return vec4<f32>(raw.c);
}

fn quad_3(raw: Raw, place: u32) -> vec4<f32> {
    return vec4<f32>(raw.d);
}

// Which quad of the row a lane's quad `at` is.
fn lane_quad(place: u32, at: u32) -> u32 {
    return 2u * (place + at / 2u * ROW_LANES) + at % 2u;
}
