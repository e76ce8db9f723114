// Sums as f16, [batch, stride], two a word; the stride is even. Needs no feature.
// Sibling: sums_f32.wgsl.

@group(0) @binding(5) var<storage, read_write> y: array<u32>;

fn output_words() -> u32 {
    return params.batch * params.stride / 2u;
}

fn store(word: u32) {
    let vector = 2u * word / params.stride;
    let row = 2u * word % params.stride;
    var both = float_to_half(summed(vector, row));
    // Rows of an odd number are followed by a 0.
    if row + 1u < params.rows {
        both |= float_to_half(summed(vector, row + 1u)) << 16u;
    }
    y[word] = both;
}
