// Residuals of 4 bits, eight outputs a word. Siblings: int2.wgsl, int8.wgsl, f16.wgsl.

// Outputs of a word, and how many of them are added up over the workgroup at a time.
const PER_WORD: u32 = 8u;
const BLOCK: u32 = 8u;

struct Sums {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Adds what channels with activation `x` give to the outputs of a word.
fn add_word(sums: Sums, word: u32, x: f32) -> Sums {
    let words = vec4<u32>(word);
    let low = (words >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    let high = (words >> vec4<u32>(16u, 20u, 24u, 28u)) & vec4<u32>(15u);
    return Sums(
        fma(vec4<f32>(low) - 8.0, vec4<f32>(x), sums.low),
        fma(vec4<f32>(high) - 8.0, vec4<f32>(x), sums.high),
    );
}

// Lays out the sums of one block for `block_sum`.
fn stage(sums: Sums, block: u32, at: u32) {
    stage_quad(sums.low, at);
    stage_quad(sums.high, at + 128u);
}
