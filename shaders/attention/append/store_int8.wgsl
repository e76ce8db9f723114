// Rows of int8: a scale a row.
// Siblings: store_f32.wgsl, store_f16.wgsl, store_bf16.wgsl, store_int4.wgsl.

fn ranks(bits: u32) -> vec2<u32> {
    return vec2<u32>(bits & 0x7fffffffu, 0u);
}

fn params_of(largest: vec2<u32>) -> u32 {
    return half_quotient(bitcast<f32>(largest.x), 127.0);
}

fn code(bits: u32, stored: u32) -> u32 {
    let held = finite(bits);
    let magnitude = bitcast<f32>(held & 0x7fffffffu);
    let q = whole_quotient(magnitude, half_to_float(stored), 127.0);
    return select(q, (0u - q) & 0xffu, (held >> 31u) == 1u);
}
