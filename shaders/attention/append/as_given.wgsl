// Rows as they are given. Sibling: rotated.wgsl.

fn number(base: u32, token: u32, col: u32) -> u32 {
    return input_bits(base + col);
}
