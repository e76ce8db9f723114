//! Scores that look at no key.

use crate::Result;
use crate::attention::evict::Scores;

/// Random scores within 0 to 1, the same for a seed on every machine.
///
/// # Errors
/// As [`Scores::zeros`].
pub fn random(layers: usize, heads: usize, n: u32, seed: u64) -> Result<Scores> {
    let mut scores = Scores::zeros(layers, heads, n)?.into_values();
    let mut state = seed;
    for score in &mut scores {
        // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014); its upper 24 bits are exact in f32.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        *score = (mixed >> 40) as f32 / (1 << 24) as f32;
    }
    Scores::new(layers, heads, n, scores)
}

/// The newest positions, after the first `sink`: what StreamingLLM keeps. Beyond 2^24 positions
/// neighbours may be equal.
///
/// Source: "Efficient Streaming Language Models with Attention Sinks", Xiao et al., ICLR 2024, arXiv
/// 2309.17453; 4 sink positions there.
///
/// # Errors
/// As [`Scores::zeros`].
pub fn recent(layers: usize, heads: usize, n: u32, sink: u32) -> Result<Scores> {
    let head = (0..n).map(|position| match position < sink {
        true => (n + (sink - position).min(u32::MAX - n)) as f32,
        false => position as f32,
    });
    let mut scores = Scores::zeros(layers, heads, n)?.into_values();
    scores.clear();
    (0..layers * heads).for_each(|_| scores.extend(head.clone()));
    Scores::new(layers, heads, n, scores)
}
