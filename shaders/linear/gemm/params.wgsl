// Where the matrices of `gemm` lie. Offsets are elements from the start of what is bound.

struct Params {
    // Rows of W in this launch, and the first of them within the whole matrix.
    rows: u32,
    matrix_row: u32,
    cols: u32,
    batch: u32,
    // Parts that the columns are cut into, and columns in each, a multiple of 8.
    slices: u32,
    slice_cols: u32,
    // 1 to add the bias; 1 to add to what y holds.
    bias: u32,
    accumulate: u32,
    w_offset: u32,
    w_stride: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    // From vector to vector of y, and of the partial sums.
    stride: u32,
    // 1 where the element beside an odd number of f16 products is somebody else's.
    keep: u32,
    // A uniform buffer is a multiple of 16 bytes long.
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Eight neighbouring columns.
struct Run {
    low: vec4<f32>,
    high: vec4<f32>,
}
