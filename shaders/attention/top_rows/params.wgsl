// What `top_rows` is told, and who a list is for.
// Expects: const QUERIES, query rows of a list.

struct Params {
    // KV heads, query heads of each, new tokens.
    heads: u32,
    group: u32,
    tokens: u32,
    // Whether a token sees no rows after its own.
    causal: u32,
    lists: u32,
    capacity: u32,
    // First rows that are listed whatever their rank.
    sinks: u32,
    // Rows that are looked for, where no index says how many.
    budget: u32,
    // Numbers of a row of scores; where ranks begin among them, in quads.
    stride: u32,
    ranks: u32,
    page_rows: u32,
    // Where the page table begins in the row map.
    pages: u32,
    // Workgroups of a list.
    slices: u32,
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

const NO_KEY: f32 = -1e30;

fn head_of(list: u32) -> u32 {
    return list * QUERIES / params.group % params.heads;
}

// How many of a head's rows a list's token sees.
fn seen_by(list: u32, len: u32) -> u32 {
    if params.causal == 0u {
        return len;
    }
    let token = list * QUERIES / (params.group * params.heads);
    return max(len + token + 1u, params.tokens) - params.tokens;
}

fn is_nan(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}
