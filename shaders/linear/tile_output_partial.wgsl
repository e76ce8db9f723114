// Products of a tile and one slice of the columns, to be added up by `sum_slices`.
// Siblings: tile_output_f32.wgsl, tile_output_f16.wgsl.

// [slices, batch, stride] of f32.
@group(0) @binding(6) var<storage, read_write> partials: array<f32>;

fn store_four(slice: u32, vector: u32, row: u32, sums: vec4<f32>) {
    if vector >= params.batch {
        return;
    }
    let at = (slice * params.batch + vector) * params.stride + params.matrix_row + row;
    if row < params.rows {
        partials[at] = sums.x;
    }
    if row + 1u < params.rows {
        partials[at + 1u] = sums.y;
    }
    if row + 2u < params.rows {
        partials[at + 2u] = sums.z;
    }
    if row + 3u < params.rows {
        partials[at + 3u] = sums.w;
    }
}
