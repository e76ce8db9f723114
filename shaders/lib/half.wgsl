// f16 <-> f32 in integer arithmetic: needs no feature, keeps subnormals that hardware may flush,
// and rounds the same way on every device. Tables hold finite values only.

fn half_to_float(half: u32) -> f32 {
    let sign = (half & 0x8000u) << 16u;
    let magnitude = half & 0x7fffu;
    let normal = bitcast<f32>(sign | ((magnitude << 13u) + 0x38000000u));
    // 2^-24 is the unit of f16 subnormals, and every one of them is a normal f32.
    let unsigned_subnormal = f32(magnitude) * 5.9604644775390625e-8;
    let subnormal = bitcast<f32>(sign | bitcast<u32>(unsigned_subnormal));
    return select(normal, subnormal, magnitude < 0x400u);
}

// To nearest, ties to even; too large becomes infinity, NaN stays NaN.
fn float_to_half(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return sign | 0x7e00u;
    }
    // 65520 and above round to infinity.
    if magnitude >= 0x477ff000u {
        return sign | 0x7c00u;
    }
    if magnitude < 0x38800000u {
        return sign | u32(round(bitcast<f32>(magnitude) * 16777216.0));
    }
    let rounded = magnitude + 0xfffu + ((magnitude >> 13u) & 1u);
    return sign | ((rounded - 0x38000000u) >> 13u);
}
