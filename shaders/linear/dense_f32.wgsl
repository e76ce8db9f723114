// A dense f32 matrix as output. Sibling: dense_f16.wgsl.

@group(0) @binding(3) var<storage, read_write> dst: array<f32>;

// Writes columns `col` .. `col + 4` of a row of the launch, as far as the matrix goes.
fn store_quad(row: u32, col: u32, values: vec4<f32>) {
    let at = row * params.stride + col;
    if col + 3u < params.cols {
        dst[at] = values.x;
        dst[at + 1u] = values.y;
        dst[at + 2u] = values.z;
        dst[at + 3u] = values.w;
        return;
    }
    if col < params.cols {
        dst[at] = values.x;
    }
    if col + 1u < params.cols {
        dst[at + 1u] = values.y;
    }
    if col + 2u < params.cols {
        dst[at + 2u] = values.z;
    }
}
