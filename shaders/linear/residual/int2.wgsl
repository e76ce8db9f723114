// Residuals of 2 bits, sixteen outputs a word. Siblings: int4.wgsl, int8.wgsl, f16.wgsl.

// Outputs of a word, and how many of them are added up over the workgroup at a time.
const PER_WORD: u32 = 16u;
const BLOCK: u32 = 8u;

struct Sums {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

fn four(word: u32, shift: u32) -> vec4<f32> {
    let shifts = vec4<u32>(0u, 2u, 4u, 6u) + vec4<u32>(shift);
    return vec4<f32>((vec4<u32>(word) >> shifts) & vec4<u32>(3u)) - 2.0;
}

// Adds what channels with activation `x` give to the outputs of a word.
fn add_word(sums: Sums, word: u32, x: f32) -> Sums {
    return Sums(
        fma(four(word, 0u), vec4<f32>(x), sums.a),
        fma(four(word, 8u), vec4<f32>(x), sums.b),
        fma(four(word, 16u), vec4<f32>(x), sums.c),
        fma(four(word, 24u), vec4<f32>(x), sums.d),
    );
}

// Lays out the sums of one block for `block_sum`.
fn stage(sums: Sums, block: u32, at: u32) {
    stage_quad(select(sums.c, sums.a, block == 0u), at);
    stage_quad(select(sums.d, sums.b, block == 0u), at + 128u);
}
