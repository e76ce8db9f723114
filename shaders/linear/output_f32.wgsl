// The product as f32. Sibling: output_f16.wgsl.

@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// Writes the rows of the workgroup that starts at row `first` of the launch.
fn store_rows(first: u32, lane: Lane) {
    if lane.index < ROWS && first + lane.index < params.rows {
        let row = params.matrix_row + first + lane.index;
        y[row] = reduced(lane.index, lane) + bias_of(row);
    }
}
