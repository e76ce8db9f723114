// Sums as f32, in the place of what was there or added to it. Sibling: y_f16.wgsl.

// [batch, y_stride].
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// Outputs of an even number and the next, where there is one.
fn store(row: u32, sums: vec2<f32>) {
    let at = vector * params.y_stride + row;
    var low = sums.x;
    if ADD {
        low += y[at];
    }
    y[at] = low;
    if row + 1u < params.rows {
        var high = sums.y;
        if ADD {
            high += y[at + 1u];
        }
        y[at + 1u] = high;
    } else if !ADD && row + 1u < params.y_stride {
        y[at + 1u] = 0.0;
    }
}
