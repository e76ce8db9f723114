// A dense f16 matrix as output, two columns a word; the stride is even, and a row's padding
// element is written as 0. Needs no feature.

@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

fn store_quad(row: u32, col: u32, values: vec4<f32>) {
    let at = (row * params.stride + col) / 2u;
    if col < params.cols {
        let second = select(0.0, values.y, col + 1u < params.cols);
        dst[at] = float_to_half(values.x) | (float_to_half(second) << 16u);
    }
    if col + 2u < params.cols {
        let second = select(0.0, values.w, col + 3u < params.cols);
        dst[at + 1u] = float_to_half(values.z) | (float_to_half(second) << 16u);
    }
}
