// Sums as f16, two a word, in the place of what was there or added to it. Needs no feature.
// Sibling: y_f32.wgsl.

// [batch, y_stride], of an even stride.
@group(0) @binding(5) var<storage, read_write> y: array<u32>;

// Outputs of an even number and the next; 0 where there is none.
fn store(row: u32, sums: vec2<f32>) {
    let at = (vector * params.y_stride + row) / 2u;
    var both = sums;
    if ADD {
        both += unpack2x16float(y[at]);
    }
    var word = float_to_half(both.x);
    if row + 1u < params.rows {
        word |= float_to_half(both.y) << 16u;
    }
    y[at] = word;
}
