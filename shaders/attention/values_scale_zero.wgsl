// Values of codes times a scale a row, plus a zero a row. Siblings: values_plain.wgsl, values_scale.wgsl.

@group(0) @binding(3) var<storage, read> values: array<vec4<u32>>;
// [rows]: scale in the low half, zero in the high one.
@group(0) @binding(5) var<storage, read> value_params: array<u32>;

fn value_codec(row: u32) -> Codec {
    return unpack2x16float(value_params[row]);
}
