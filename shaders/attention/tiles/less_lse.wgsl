// Sums of query rows are taken from their logits. Siblings: less_none.wgsl, less_parts.wgsl.

// [q_len, H G], natural logarithms.
@group(0) @binding(9) var<storage, read> lse: array<f32>;

// In base 2: all there is, of a row that saw no key.
fn denominator(at: u32) -> f32 {
    let log = lse[at];
    return select(log * 1.4426950408889634, -NO_KEY, log <= NO_KEY);
}

// Where the parts begin.
fn parts_first() -> u32 {
    return 0u;
}
