// Products of a query's components and a column's numbers, rounded to integers.

// Eight elements a vector.
@group(0) @binding(12) var<storage, read> sorted: array<vec4<u32>>;

// An element of a column; none is subnormal.
fn number(at: u32) -> f32 {
    let pair = unpack2x16float(sorted[at / 8u][(at / 2u) % 4u]);
    return select(pair.x, pair.y, at % 2u == 1u);
}

// One rounding of f32, one to the nearest integer, ties to even.
fn product(factor: f32, number: f32) -> i32 {
    return i32(round(factor * number));
}

// Subnormal components count as 0: hardware may flush them.
fn flushed(bits: u32) -> u32 {
    return select(bits, 0u, (bits & 0x7f800000u) == 0u);
}

// What a column's numbers are multiplied by, on a grid of multiples of 2^-exponent.
fn factor_of(at: u32, exponent: i32) -> f32 {
    return bitcast<f32>(flushed(query_bits(at))) * bitcast<f32>(u32(exponent + 127) << 23u);
}
