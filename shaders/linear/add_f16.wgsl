// Sums of f16, two a word; needs no feature. Sibling: add_f32.wgsl.

@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<u32>;

fn add_word(word: u32) {
    let element = 2u * word;
    if element < params.len {
        let both = a[word];
        var sum = float_to_half(half_to_float(both & 0xffffu) + b[element]);
        if element + 1u < params.len {
            sum |= float_to_half(half_to_float(both >> 16u) + b[element + 1u]) << 16u;
        }
        y[word] = sum;
    }
}
