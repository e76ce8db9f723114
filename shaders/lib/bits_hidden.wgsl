// Bit selection, fields and rotation with masks that the compiler cannot see through.
// Sibling: bits.wgsl.
//
// Compilers know that a constant mask and its complement are two constants, and take two
// instructions for a selection that hardware does in one with the mask in a register. They also
// rewrite a field that indexes a table so that extracting and scaling it to bytes are two
// instructions; extracted where it lies after scaling, with a mask that they do not know, it is one.
// Expects: params.rows below 2^31, which every spec checks; const ENTRY_SHIFT, log2 of the bytes of
// an entry of the table that fields index.

fn hidden(mask: u32) -> u32 {
    return mask ^ (params.rows >> 31u);
}

fn pick(mask: u32, a: u32, b: u32) -> u32 {
    // A mask and its complement share a register.
    let high = mask >= 0x80000000u;
    return select(a, b, high) ^ ((a ^ b) & hidden(select(~mask, mask, high)));
}

fn field(x: u32, shift: u32, mask: u32) -> u32 {
    // One of the two shifts is by the wrong amount, modulo 32, and not taken.
    let scaled = select(
        x >> ((shift - ENTRY_SHIFT) & 31u),
        x << ((ENTRY_SHIFT - shift) & 31u),
        shift < ENTRY_SHIFT,
    );
    return (scaled & hidden(mask << ENTRY_SHIFT)) >> ENTRY_SHIFT;
}

// `by` must be 1..=31: a shift by 32 is not defined the same way everywhere.
fn rotate_left(x: u32, by: u32) -> u32 {
    return (x << by) | (x >> (32u - by));
}
