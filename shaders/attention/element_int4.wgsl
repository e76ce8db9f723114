// Keys and values of nibbles times a scale a row, plus a zero a row.
// Siblings: the other element_*.wgsl. Beside it keys_*.wgsl, values_*.wgsl, or both.

// Quads of numbers in a piece of 16 bytes.
const QUADS: u32 = 8u;
// What a row's codes are made numbers with.
alias Codec = vec2<f32>;

// Quad `at` of a piece: codes. 2^23 + n has n in its last bits: an `or` and an exact `fma` make a nibble
// anywhere in 16 bits a float, where conversions are slow.
fn codes(words: vec4<u32>, at: u32) -> vec4<f32> {
    let pair = select(words.xy, words.zw, at >= 4u);
    let half = select(pair.x, pair.y, (at & 2u) != 0u) >> (16u * (at & 1u));
    let nibbles = (vec4<u32>(half) & vec4<u32>(0xfu, 0xf0u, 0xf00u, 0xf000u)) | vec4<u32>(0x4b000000u);
    let by = vec4<f32>(1.0, 0.0625, 0.00390625, 0.000244140625);
    return fma(bitcast<vec4<f32>>(nibbles), by, vec4<f32>(-8388608.0, -524288.0, -32768.0, -2048.0));
}

fn decode(words: vec4<u32>, at: u32, codec: Codec) -> vec4<f32> {
    return fma(vec4<f32>(codec.x), codes(words, at), vec4<f32>(codec.y));
}
