// Products of a tile as f32. Siblings: tile_output_f16.wgsl, tile_output_partial.wgsl.

@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// Writes the products of one vector with four neighbouring rows of the launch, as far as they go.
fn store_four(slice: u32, vector: u32, row: u32, sums: vec4<f32>) {
    if vector >= params.batch {
        return;
    }
    let first = params.matrix_row + row;
    let at = vector * params.stride + first;
    if row < params.rows {
        y[at] = sums.x + bias_of(first);
    }
    if row + 1u < params.rows {
        y[at + 1u] = sums.y + bias_of(first + 1u);
    }
    if row + 2u < params.rows {
        y[at + 2u] = sums.z + bias_of(first + 2u);
    }
    if row + 3u < params.rows {
        y[at + 3u] = sums.w + bias_of(first + 3u);
    }
}
