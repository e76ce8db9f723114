// What `prefill`, `score_lse`, `score_max` and `score_merge` are told.

struct Params {
    // KV heads, query heads of each, new tokens.
    heads: u32,
    group: u32,
    q_len: u32,
    // Tiles of the query rows of a KV head, and of its keys.
    row_tiles: u32,
    key_tiles: u32,
    page_rows: u32,
    // Where the arrays begin in the row map.
    starts: u32,
    pages: u32,
    // Keys before the new ones: so many first rows, then a chunk of rows.
    sink: u32,
    chunk_first: u32,
    chunk: u32,
    // Parts that the query rows of `score_max` are cut into.
    slices: u32,
    // Where the first head's scores begin, and from head to head.
    score_first: u32,
    score_stride: u32,
    // A logit in base 2 is `outer` times the dot product; under a softcap `outer tanh(inner dot)`.
    inner: f32,
    outer: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

// What stands for no key: no infinity, which compilers may assume not to be.
const NO_KEY: f32 = -1e30;

// Query rows of a KV head: row `token group + g`.
fn query_rows() -> u32 {
    return params.q_len * params.group;
}

// Query row `row` of a KV head, among [q_len, H G].
fn query_row(head: u32, row: u32) -> u32 {
    return (row / params.group * params.heads + head) * params.group + row % params.group;
}
