// Numbers of f16, two a word, as bits of f32. Sibling: input_f32.wgsl.

// [tokens, input heads, DIM].
@group(0) @binding(INPUT) var<storage, read> inputs: array<u32>;

fn input_bits(at: u32) -> u32 {
    let half = (inputs[at / 2u] >> (16u * (at & 1u))) & 0xffffu;
    if (half & 0x7fffu) < 0x7c00u {
        return bitcast<u32>(half_to_float(half));
    }
    // Infinities, and NaN, which become quiet.
    let quiet = select(0u, 0x400000u, (half & 0x3ffu) != 0u);
    return ((half & 0x8000u) << 16u) | 0x7f800000u | quiet | ((half & 0x3ffu) << 13u);
}
