// Residuals of f16, two outputs a word, without scales. Subnormal ones are common, and hardware may
// flush them: so they are widened as integers. Siblings: int2.wgsl, int4.wgsl, int8.wgsl.

// Outputs of a word, and how many of them are added up over the workgroup at a time.
const PER_WORD: u32 = 2u;
const BLOCK: u32 = 2u;

struct Sums {
    both: vec2<f32>,
}

// Adds what channels with activation `x` give to the outputs of a word.
fn add_word(sums: Sums, word: u32, x: f32) -> Sums {
    let both = vec2<f32>(half_to_float(word & 0xffffu), half_to_float(word >> 16u));
    return Sums(fma(both, vec2<f32>(x), sums.both));
}

// Lays out the sums of one block for `block_sum`.
fn stage(sums: Sums, block: u32, at: u32) {
    block_sums[at] = sums.both.x;
    block_sums[at + 32u] = sums.both.y;
}

fn scales_of(row: u32) -> vec2<f32> {
    return vec2<f32>(1.0);
}
