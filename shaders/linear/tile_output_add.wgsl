// Products of a tile added to the sums of one of many whole tiles, a tile of which is
// [VECTORS, ROWS]. Siblings: tile_output_f32.wgsl, tile_output_f16.wgsl, tile_output_partial.wgsl.

@group(0) @binding(3) var<storage, read_write> sums: array<vec4<f32>>;

fn store_four(tile: u32, vector: u32, row: u32, products: vec4<f32>) {
    let at = (tile * VECTORS + vector) * (ROWS / 4u) + row / 4u;
    sums[at] += products;
}
