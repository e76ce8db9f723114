// Products of one slice of the columns, to be added up by `sum_slices`.
// Siblings: output_f32.wgsl, output_f16.wgsl.

// [slices, batch, stride] of f32.
@group(0) @binding(6) var<storage, read_write> partials: array<f32>;

fn store_sums(first: u32, slice: u32, lane: Lane) {
    for (var s = lane.index; s < SUMS; s += WORKGROUP) {
        let r = s % ROWS;
        if first + r < params.rows {
            let row = params.matrix_row + first + r;
            partials[(slice * BATCH + s / ROWS) * params.stride + row] = reduced(s, lane);
        }
    }
}
