// Keys of codes times a scale a row, plus a zero a row. Siblings: keys_plain.wgsl, keys_scale.wgsl.

@group(0) @binding(2) var<storage, read> keys: array<vec4<u32>>;
// [rows]: scale in the low half, zero in the high one.
@group(0) @binding(4) var<storage, read> key_params: array<u32>;

fn key_codec(row: u32) -> Codec {
    return unpack2x16float(key_params[row]);
}
