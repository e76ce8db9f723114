// Keys and values of f32.
// Siblings: the other element_*.wgsl. Beside it keys_*.wgsl, values_*.wgsl, or both.

// Quads of numbers in a piece of 16 bytes.
const QUADS: u32 = 1u;
// What a row's codes are made numbers with.
alias Codec = u32;

// Quad `at` of a piece: codes, which are the numbers.
fn codes(words: vec4<u32>, at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(words);
}

fn decode(words: vec4<u32>, at: u32, codec: Codec) -> vec4<f32> {
    return codes(words, at);
}
