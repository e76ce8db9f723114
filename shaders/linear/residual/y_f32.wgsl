// Sums as f32, in the place of what was there or added to it. Sibling: y_f16.wgsl.

@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// Outputs of an even number and the next, where there is one.
fn store(row: u32, sums: vec2<f32>) {
    var low = sums.x;
    if ADD {
        low += y[row];
    }
    y[row] = low;
    if row + 1u < params.rows {
        var high = sums.y;
        if ADD {
            high += y[row + 1u];
        }
        y[row + 1u] = high;
    }
}
