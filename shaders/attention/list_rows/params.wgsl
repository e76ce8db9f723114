// What both launches of `list_rows` are told.

struct Params {
    // New tokens, KV heads, query heads of each, query rows of a list.
    tokens: u32,
    heads: u32,
    group: u32,
    queries: u32,
    // Words of a list, first rows that every list has, 1 where a token sees no later ones.
    capacity: u32,
    sinks: u32,
    causal: u32,
    // Elements from a query row's hits to the next's, a multiple of 64.
    most: u32,
    page_rows: u32,
    pages: u32,
    // A logit in base 2 is `outer` times the dot product; under a softcap `outer tanh(inner dot)`.
    inner: f32,
    outer: f32,
    // Half of what dot products are multiplied by.
    half_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Lists of all tokens and heads.
fn list_count() -> u32 {
    return params.tokens * params.heads * params.group / params.queries;
}

// The KV head of a query row.
fn head_of(row: u32) -> u32 {
    return row / params.group % params.heads;
}

// How many rows of its head a query row sees.
fn seen_by(row: u32, len: u32) -> u32 {
    if params.causal == 0u {
        return len;
    }
    let after = params.tokens - row / (params.group * params.heads) - 1u;
    return select(len - after, 0u, len < after);
}
