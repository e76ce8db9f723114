// The product as f16, two rows a word: `ROWS` and the launch's first row are even, so every word
// belongs to one lane. Needs no feature.

@group(0) @binding(5) var<storage, read_write> y: array<u32>;

fn store_rows(first: u32, lane: Lane) {
    let r = 2u * lane.index;
    if r < ROWS && first + r < params.rows {
        let row = params.matrix_row + first + r;
        var word = float_to_half(reduced(r, lane) + bias_of(row));
        if first + r + 1u < params.rows {
            word |= float_to_half(reduced(r + 1u, lane) + bias_of(row + 1u)) << 16u;
        }
        y[row / 2u] = word;
    }
}
