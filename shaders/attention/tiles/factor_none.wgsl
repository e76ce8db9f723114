// Codes of keys are the numbers. Sibling: factor_scale.wgsl.

fn stage_factors(segment: Segment, first_key: u32, last_key: u32, index: u32) {}

fn scaled_block(x: Block, lane: Lane) -> Block {
    return x;
}

fn key_factor(row: u32) -> f32 {
    return 1.0;
}
