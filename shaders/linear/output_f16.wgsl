// Products as f16, two rows a word: `ROWS`, the launch's first row and the stride are even, so
// every word belongs to one lane. Needs no feature. Siblings: output_f32.wgsl, output_partial.wgsl.

@group(0) @binding(5) var<storage, read_write> y: array<u32>;

fn store_sums(first: u32, slice: u32, lane: Lane) {
    for (var s = 2u * lane.index; s < SUMS; s += 2u * WORKGROUP) {
        let r = s % ROWS;
        if first + r < params.rows {
            let row = params.matrix_row + first + r;
            var word = float_to_half(reduced(s, lane) + bias_of(row));
            if first + r + 1u < params.rows {
                word |= float_to_half(reduced(s + 1u, lane) + bias_of(row + 1u)) << 16u;
            }
            y[(s / ROWS * params.stride + row) / 2u] = word;
        }
    }
}
