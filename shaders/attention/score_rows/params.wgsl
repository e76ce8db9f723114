// What `score_rows` is told.
// Expects: const ROWS, query rows of a place: of a KV head, or of a list.

struct Params {
    // KV heads or lists, and workgroups of each.
    places: u32,
    parts: u32,
    // KV heads, query heads of each, new tokens.
    heads: u32,
    group: u32,
    tokens: u32,
    // Whether a token sees no rows after its own.
    causal: u32,
    // Numbers of a row of scores: of all rows, or of a list.
    stride: u32,
    page_rows: u32,
    // Where the page table begins in the row map.
    pages: u32,
    // Query rows of all places.
    queries: u32,
    // A logit in base 2 is `outer` times the dot product; under a softcap `outer tanh(inner dot)`.
    inner: f32,
    outer: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

const NO_KEY: f32 = -1e30;

// A number as an integer of the same order, above 0: NaN above all, -0 as 0.
fn image_of(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return 0xffc00000u;
    }
    let ordered = select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
    return select(ordered, 0x80000000u, (bits << 1u) == 0u);
}
