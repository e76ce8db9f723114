// Rows of f32. Siblings: store_f16.wgsl, store_bf16.wgsl, store_int8.wgsl, store_int4.wgsl.

fn prepare(base: u32, squad: u32, lane: u32) -> u32 {
    return 0u;
}

fn put_params(row: u32, stored: u32) {
}

fn code(bits: u32, stored: u32) -> u32 {
    return bits;
}
