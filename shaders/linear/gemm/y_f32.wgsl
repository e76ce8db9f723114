// Products of a tile as f32, anywhere. Siblings: y_f16.wgsl, ../tile_output_partial.wgsl.

@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// Writes the products of one vector with four neighbouring rows of the launch, as far as they go.
fn store_four(slice: u32, vector: u32, row: u32, sums: vec4<f32>) {
    if vector >= params.batch {
        return;
    }
    store_one(vector, row, sums.x);
    store_one(vector, row + 1u, sums.y);
    store_one(vector, row + 2u, sums.z);
    store_one(vector, row + 3u, sums.w);
}

fn store_one(vector: u32, row: u32, sum: f32) {
    if row >= params.rows {
        return;
    }
    let of_matrix = params.matrix_row + row;
    let at = params.y_offset + vector * params.stride + of_matrix;
    let product = sum + bias_of(of_matrix);
    if params.accumulate != 0u {
        y[at] += product;
    } else {
        y[at] = product;
    }
}
