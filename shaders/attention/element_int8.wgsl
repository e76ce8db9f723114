// Keys and values of signed bytes times a scale a row.
// Siblings: the other element_*.wgsl.

@group(0) @binding(2) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> values: array<vec4<u32>>;
// [rows]: scale in the low half.
@group(0) @binding(4) var<storage, read> key_params: array<u32>;
@group(0) @binding(5) var<storage, read> value_params: array<u32>;

// Quads of numbers in a piece of 16 bytes.
const QUADS: u32 = 4u;
// What a row's numbers are made with.
alias Codec = f32;

fn key_codec(row: u32) -> Codec {
    return unpack2x16float(key_params[row]).x;
}

fn value_codec(row: u32) -> Codec {
    return unpack2x16float(value_params[row]).x;
}

fn decode(words: vec4<u32>, at: u32, codec: Codec) -> vec4<f32> {
    let pair = select(words.xy, words.zw, at >= 2u);
    let word = select(pair.x, pair.y, (at & 1u) != 0u);
    let bytes = bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u));
    return codec * vec4<f32>(bytes >> vec4<u32>(24u));
}
