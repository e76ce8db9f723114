// Components of queries of f16 in pairs, as bits of f32 in integer arithmetic: hardware may flush
// subnormal ones. Sibling: query_f32.wgsl.

@group(0) @binding(1) var<storage, read> q: array<u32>;

fn query_bits(at: u32) -> u32 {
    let half = (q[at / 2u] >> (16u * (at % 2u))) & 0xffffu;
    let sign = (half & 0x8000u) << 16u;
    let magnitude = half & 0x7fffu;
    if magnitude >= 0x7c00u {
        return sign | 0x7f800000u;
    }
    if magnitude < 0x400u {
        return sign | bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8);
    }
    return sign | ((magnitude << 13u) + 0x38000000u);
}
