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
    // Elements from row to row of a dense output.
    stride: u32,
    // 1 to add the bias.
    bias: u32,
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
