// Sums of f32. Sibling: add_f16.wgsl.

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

fn add_word(word: u32) {
    if word < params.len {
        y[word] = a[word] + b[word];
    }
}
