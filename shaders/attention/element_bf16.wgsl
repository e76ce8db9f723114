// Keys and values of bf16, the upper halves of f32, in pairs.
// Siblings: the other element_*.wgsl. Beside it keys_*.wgsl, values_*.wgsl, or both.

// Quads of numbers in a piece of 16 bytes.
const QUADS: u32 = 2u;
// What a row's codes are made numbers with.
alias Codec = u32;

// Quad `at` of a piece: codes, which are the numbers.
fn codes(words: vec4<u32>, at: u32) -> vec4<f32> {
    let pairs = select(words.xy, words.zw, at != 0u).xxyy;
    let shifted = vec4<u32>(pairs.x << 16u, pairs.y, pairs.z << 16u, pairs.w);
    return bitcast<vec4<f32>>(shifted & vec4<u32>(0xffff0000u));
}

fn decode(words: vec4<u32>, at: u32, codec: Codec) -> vec4<f32> {
    return codes(words, at);
}
