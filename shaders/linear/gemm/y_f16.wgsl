// Products of a tile as f16, two rows a word: `row`, the launch's first row, the offset and the
// stride are even, so every word belongs to one lane. Needs no feature.
// Siblings: y_f32.wgsl, ../tile_output_partial.wgsl.

@group(0) @binding(5) var<storage, read_write> y: array<u32>;

// Writes the products of one vector with four neighbouring rows of the launch, as far as they go.
fn store_four(slice: u32, vector: u32, row: u32, sums: vec4<f32>) {
    if vector >= params.batch {
        return;
    }
    store_two(vector, row, sums.xy);
    store_two(vector, row + 2u, sums.zw);
}

fn store_two(vector: u32, row: u32, sums: vec2<f32>) {
    if row >= params.rows {
        return;
    }
    let of_matrix = params.matrix_row + row;
    let at = (params.y_offset + vector * params.stride + of_matrix) / 2u;
    let word = float_to_half(sums.x + bias_of(of_matrix));
    if row + 1u < params.rows {
        y[at] = word | (float_to_half(sums.y + bias_of(of_matrix + 1u)) << 16u);
    } else if params.keep != 0u {
        y[at] = word | (y[at] & 0xffff0000u);
    } else {
        y[at] = word;
    }
}
