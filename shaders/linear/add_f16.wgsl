// Sums of f16, two a word; needs no feature. Sibling: add_f32.wgsl.

@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<u32>;

// Infinity and NaN are what tables do not hold.
fn widened(half: u32) -> f32 {
    let special = 0x7f800000u | ((half & 0x7fffu) << 13u) | ((half & 0x8000u) << 16u);
    return select(half_to_float(half), bitcast<f32>(special), (half & 0x7fffu) >= 0x7c00u);
}

fn add_word(word: u32) {
    let element = 2u * word;
    if element < params.len {
        let both = a[word];
        var sum = float_to_half(widened(both & 0xffffu) + b[element]);
        if element + 1u < params.len {
            sum |= float_to_half(widened(both >> 16u) + b[element + 1u]) << 16u;
        }
        y[word] = sum;
    }
}
