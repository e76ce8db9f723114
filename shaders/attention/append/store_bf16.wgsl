// Rows of bf16. Siblings: store_f32.wgsl, store_f16.wgsl, store_int8.wgsl, store_int4.wgsl.

fn prepare(base: u32, squad: u32, lane: u32) -> u32 {
    return 0u;
}

fn put_params(row: u32, stored: u32) {
}

fn code(bits: u32, stored: u32) -> u32 {
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return (bits >> 16u) | 0x40u;
    }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}
