// Keys and values of nibbles times a scale a row, plus a zero a row.
// Siblings: the other element_*.wgsl.

@group(0) @binding(2) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> values: array<vec4<u32>>;
// [rows]: scale in the low half, zero in the high one.
@group(0) @binding(4) var<storage, read> key_params: array<u32>;
@group(0) @binding(5) var<storage, read> value_params: array<u32>;

// Quads of numbers in a piece of 16 bytes.
const QUADS: u32 = 8u;
// What a row's numbers are made with.
alias Codec = vec2<f32>;

fn key_codec(row: u32) -> Codec {
    return unpack2x16float(key_params[row]);
}

fn value_codec(row: u32) -> Codec {
    return unpack2x16float(value_params[row]);
}

fn decode(words: vec4<u32>, at: u32, codec: Codec) -> vec4<f32> {
    let pair = select(words.xy, words.zw, at >= 4u);
    let word = select(pair.x, pair.y, (at & 2u) != 0u) >> (16u * (at & 1u));
    let nibbles = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return fma(vec4<f32>(codec.x), vec4<f32>(nibbles), vec4<f32>(codec.y));
}
