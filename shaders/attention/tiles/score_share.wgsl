// Scores are shares of a row's sum, 0 to 1. Sibling: score_logit.wgsl.

fn score_of(best: f32) -> f32 {
    let share = exp2(best);
    // More than 1 is rounding.
    let most = select(share, 1.0, share > 1.0);
    return select(most, best, is_nan(best));
}
