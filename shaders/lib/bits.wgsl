// Bit selection, fields and rotation. Sibling: bits_hidden.wgsl.

// Bits of `a` where the mask is set, bits of `b` elsewhere; one instruction on most GPUs.
fn pick(mask: u32, a: u32, b: u32) -> u32 {
    return (a & mask) | (b & ~mask);
}

// Bits `shift` .. of `x` that `mask`, a number of low bits, keeps.
fn field(x: u32, shift: u32, mask: u32) -> u32 {
    return (x >> shift) & mask;
}

// `by` must be 1..=31: a shift by 32 is not defined the same way everywhere.
fn rotate_left(x: u32, by: u32) -> u32 {
    return (x << by) | (x >> (32u - by));
}
