// Rows of f16. Siblings: store_f32.wgsl, store_bf16.wgsl, store_int8.wgsl, store_int4.wgsl.

fn prepare(base: u32, squad: u32, lane: u32) -> u32 {
    return 0u;
}

fn put_params(row: u32, stored: u32) {
}

fn code(bits: u32, stored: u32) -> u32 {
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return ((bits >> 16u) & 0x8000u) | 0x7e00u | ((bits >> 13u) & 0x3ffu);
    }
    return float_to_half(bitcast<f32>(bits));
}
