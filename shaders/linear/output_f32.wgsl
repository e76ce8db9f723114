// Products as f32. Siblings: output_f16.wgsl, output_partial.wgsl.

@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// Writes the products of the workgroup that starts at row `first` of the launch.
fn store_sums(first: u32, slice: u32, lane: Lane) {
    for (var s = lane.index; s < SUMS; s += WORKGROUP) {
        let r = s % ROWS;
        if first + r < params.rows {
            let row = params.matrix_row + first + r;
            y[s / ROWS * params.stride + row] = reduced(s, lane) + bias_of(row);
        }
    }
}
