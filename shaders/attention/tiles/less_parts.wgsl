// Sums of query rows are taken from their logits, and lie before the parts.
// Siblings: less_lse.wgsl, less_none.wgsl.

// In base 2: all there is, of a row that saw no key.
fn denominator(at: u32) -> f32 {
    let log = parts[at];
    return select(log * 1.4426950408889634, -NO_KEY, log <= NO_KEY);
}

// Where the parts begin: at a multiple of 256 bytes.
fn parts_first() -> u32 {
    return (params.heads * query_rows() + 63u) / 64u * 64u;
}
