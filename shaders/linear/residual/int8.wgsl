// Residuals of 8 bits, four outputs a word. Siblings: int2.wgsl, int4.wgsl, f16.wgsl.

// Outputs of a word, and how many of them are added up over the workgroup at a time.
const PER_WORD: u32 = 4u;
const BLOCK: u32 = 4u;

struct Sums {
    all: vec4<f32>,
}

// Adds what channels with activation `x` give to the outputs of a word.
fn add_word(sums: Sums, word: u32, x: f32) -> Sums {
    let codes = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    return Sums(fma(vec4<f32>(codes) - 128.0, vec4<f32>(x), sums.all));
}

// Lays out the sums of one block for `block_sum`.
fn stage(sums: Sums, block: u32, at: u32) {
    stage_quad(sums.all, at);
}
