// Logits are left as they are. Siblings: less_lse.wgsl, less_parts.wgsl.

fn denominator(at: u32) -> f32 {
    return 0.0;
}

// Where the parts begin.
fn parts_first() -> u32 {
    return 0u;
}
