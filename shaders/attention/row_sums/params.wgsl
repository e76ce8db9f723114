// What both launches of `row_sums` are told.

struct Params {
    heads: u32,
    // Parts that the new rows of a head are cut into.
    blocks: u32,
    page_rows: u32,
    pages: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [H][blocks][3][HEAD_QUADS].
@group(0) @binding(24) var<storage, read_write> parts: array<vec4<f32>>;
