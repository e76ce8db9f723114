// Bit selection with masks that the compiler cannot see through. Sibling: bits.wgsl.
//
// Compilers know that a constant mask and its complement are two constants, and take two
// instructions for a selection that hardware does in one with the mask in a register.
// Expects: params.rows below 2^31, which every spec checks.

fn pick(mask: u32, a: u32, b: u32) -> u32 {
    let hidden = mask ^ (params.rows >> 31u);
    return b ^ ((a ^ b) & hidden);
}

// `by` must be 1..=31: a shift by 32 is not defined the same way everywhere.
fn rotate_left(x: u32, by: u32) -> u32 {
    return (x << by) | (x >> (32u - by));
}
