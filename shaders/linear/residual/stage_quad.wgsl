// Sums of four neighbouring outputs of a word, laid out for `block_sum`.

fn stage_quad(quad: vec4<f32>, at: u32) {
    block_sums[at] = quad.x;
    block_sums[at + 32u] = quad.y;
    block_sums[at + 64u] = quad.z;
    block_sums[at + 96u] = quad.w;
}
