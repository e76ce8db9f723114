// Numbers as bits of f32: so NaN and infinities pass unharmed. Sibling: input_f16.wgsl.

// [tokens, input heads, DIM].
@group(0) @binding(INPUT) var<storage, read> inputs: array<u32>;

fn input_bits(at: u32) -> u32 {
    return inputs[at];
}
