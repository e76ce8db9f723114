// Keys of codes times a scale a row. Siblings: keys_plain.wgsl, keys_scale_zero.wgsl.

@group(0) @binding(2) var<storage, read> keys: array<vec4<u32>>;
// [rows]: scale in the low half.
@group(0) @binding(4) var<storage, read> key_params: array<u32>;

fn key_codec(row: u32) -> Codec {
    return unpack2x16float(key_params[row]).x;
}
