// Scores are logits. Sibling: score_share.wgsl.

fn score_of(best: f32) -> f32 {
    return best;
}
