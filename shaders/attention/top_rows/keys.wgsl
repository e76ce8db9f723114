// Numbers as integers of the same order: NaN above all, -0 as 0.

fn keys_of(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let ordered = select(bits | vec4<u32>(0x80000000u), ~bits, bits >= vec4<u32>(0x80000000u));
    let zero = (bits << vec4<u32>(1u)) == vec4<u32>(0u);
    let key = select(ordered, vec4<u32>(0x80000000u), zero);
    return select(key, vec4<u32>(0xffffffffu), is_nan(x));
}

fn number_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key ^ 0x80000000u, key >= 0x80000000u));
}
