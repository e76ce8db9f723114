// Values whose codes are their numbers. Siblings: values_scale.wgsl, values_scale_zero.wgsl.

@group(0) @binding(3) var<storage, read> values: array<vec4<u32>>;

fn value_codec(row: u32) -> Codec {
    return 0u;
}
