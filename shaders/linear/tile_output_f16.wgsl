// Products of a tile as f16, two rows a word: `row`, the launch's first row and the stride are
// even, so every word belongs to one lane. Needs no feature.
// Siblings: tile_output_f32.wgsl, tile_output_partial.wgsl.

@group(0) @binding(5) var<storage, read_write> y: array<u32>;

fn store_four(slice: u32, vector: u32, row: u32, sums: vec4<f32>) {
    if vector >= params.batch {
        return;
    }
    let at = (vector * params.stride + params.matrix_row + row) / 2u;
    if row < params.rows {
        y[at] = two_rows(row, sums.xy);
    }
    if row + 2u < params.rows {
        y[at + 1u] = two_rows(row + 2u, sums.zw);
    }
}

// Rows of an odd number are followed by a 0.
fn two_rows(row: u32, sums: vec2<f32>) -> u32 {
    let first = params.matrix_row + row;
    var word = float_to_half(sums.x + bias_of(first));
    if row + 1u < params.rows {
        word |= float_to_half(sums.y + bias_of(first + 1u)) << 16u;
    }
    return word;
}
