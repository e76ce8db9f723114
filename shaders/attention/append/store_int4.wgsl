// Rows of int4: a scale and a zero a row.
// Siblings: store_f32.wgsl, store_f16.wgsl, store_bf16.wgsl, store_int8.wgsl.

// Ascending with the number, for the largest; descending, for the smallest.
fn ranks(bits: u32) -> vec2<u32> {
    let rank = bits ^ select(0x80000000u, 0xffffffffu, (bits >> 31u) == 1u);
    return vec2<u32>(rank, ~rank);
}

fn bits_of(rank: u32) -> u32 {
    return rank ^ select(0xffffffffu, 0x80000000u, (rank >> 31u) == 1u);
}

fn params_of(largest: vec2<u32>) -> u32 {
    let low = bits_of(~largest.y);
    // A zero has no sign.
    let sign = select(low & 0x80000000u, 0u, low == 0x80000000u);
    let held = min(low & 0x7fffffffu, 0x477fe000u);
    let zero = float_to_half(bitcast<f32>(sign | held));
    let high = bitcast<f32>(bits_of(largest.x));
    let scale = half_quotient(max(high - half_to_float(zero), 0.0), 15.0);
    return scale | (zero << 16u);
}

fn code(bits: u32, stored: u32) -> u32 {
    let above = bitcast<f32>(finite(bits)) - half_to_float(stored >> 16u);
    return whole_quotient(max(above, 0.0), half_to_float(stored & 0xffffu), 15.0);
}
