// Sums as f32, [batch, stride]. Sibling: sums_f16.wgsl.

@group(0) @binding(5) var<storage, read_write> y: array<f32>;

fn output_words() -> u32 {
    return params.batch * params.stride;
}

fn store(word: u32) {
    y[word] = summed(word / params.stride, word % params.stride);
}
