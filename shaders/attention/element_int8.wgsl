// Keys and values of signed bytes times a scale a row.
// Siblings: the other element_*.wgsl. Beside it keys_*.wgsl, values_*.wgsl, or both.

// Quads of numbers in a piece of 16 bytes.
const QUADS: u32 = 4u;
// What a row's codes are made numbers with.
alias Codec = f32;

// Quad `at` of a piece: codes. 2^23 + n has n in its last bits: an `or` and an exact `fma` make a byte,
// 128 larger and at either end of 16 bits, a float, where conversions are slow.
fn codes(words: vec4<u32>, at: u32) -> vec4<f32> {
    let pair = select(words.xy, words.zw, at >= 2u);
    let word = select(pair.x, pair.y, (at & 1u) != 0u) ^ 0x80808080u;
    let halves = vec4<u32>(word, word, word >> 16u, word >> 16u);
    let bytes = (halves & vec4<u32>(0xffu, 0xff00u, 0xffu, 0xff00u)) | vec4<u32>(0x4b000000u);
    let by = vec4<f32>(1.0, 0.00390625, 1.0, 0.00390625);
    return fma(bitcast<vec4<f32>>(bytes), by, vec4<f32>(-8388736.0, -32896.0, -8388736.0, -32896.0));
}

fn decode(words: vec4<u32>, at: u32, codec: Codec) -> vec4<f32> {
    return codec * codes(words, at);
}
