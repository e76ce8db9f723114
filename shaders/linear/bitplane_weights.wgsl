// Bit-plane weights as every kernel of this room binds them.

struct Params {
    // Rows of this launch, and the first of them within the bound piece.
    rows: u32,
    piece_row: u32,
    // The first row within the whole matrix.
    matrix_row: u32,
    // Columns of the matrix; words of one row in one plane; words from plane to plane.
    cols: u32,
    words: u32,
    plane_words: u32,
    // Elements from row to row of a dense matrix, from vector to vector of products.
    stride: u32,
    // 1 to add the bias.
    bias: u32,
    // Parts that the columns are cut into, and words of a row in each.
    slices: u32,
    slice_words: u32,
    // Vectors, where the shader is made for any number of them.
    batch: u32,
    // A uniform buffer is a multiple of 16 bytes long.
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Planes, most significant first; within a plane row-major.
@group(0) @binding(1) var<storage, read> planes: array<u32>;

const LEVELS: u32 = 1u << BITS;

// The first column of eight that word `word` of a row starts with; the word's other three runs of
// eight follow at distances of `run_distance(word)`.
fn first_col(word: u32) -> u32 {
    return (word & ~31u) * 32u + (word & 31u) * 8u;
}

// A chunk of 1024 columns has 32 words; the last chunk of a row may have fewer.
fn run_distance(word: u32) -> u32 {
    return 8u * min(32u, params.words - (word & ~31u));
}

// The four interleavings of four planes: nibble t of word i, rotated left by i, holds the four
// planes' bits of the weight at position 4t + 3 - i, the first plane's on top.
fn interleave(q0: u32, q1: u32, q2: u32, q3: u32) -> vec4<u32> {
    let a0 = pick(0xaaaaaaaau, q0, q1);
    let a1 = pick(0x55555555u, q0, q1);
    let b0 = pick(0xaaaaaaaau, q2, q3);
    let b1 = pick(0x55555555u, q2, q3);
    return vec4<u32>(
        pick(0xccccccccu, a0, b0),
        pick(0x66666666u, a1, b1),
        pick(0x33333333u, a0, b0),
        pick(0x99999999u, a1, b1),
    );
}
