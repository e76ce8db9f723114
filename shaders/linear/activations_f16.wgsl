// f16 activations, two a word, any number of columns; needs no feature.
// Siblings: activations_f16_quads.wgsl, activations_f32.wgsl, activations_f32_quads.wgsl.

@group(0) @binding(4) var<storage, read> x: array<u32>;

// Activations of columns `col` .. `col + 4`, `col` a multiple of 4; 0 past the last column,
// whatever the buffer holds there. Clamped and selected for the reason given in the f32 sibling.
fn activations(col: u32) -> vec4<f32> {
    let last = (params.cols - 1u) / 2u;
    let low = unpack2x16float(x[min(col / 2u, last)]);
    let high = unpack2x16float(x[min(col / 2u + 1u, last)]);
    let at = vec4<u32>(col, col + 1u, col + 2u, col + 3u);
    return select(vec4<f32>(), vec4<f32>(low, high), at < vec4<u32>(params.cols));
}
