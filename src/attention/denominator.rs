//! What scores of importance are divided by.

/// By what the exponential of a logit is divided where cached pairs are scored: which keys the softmax
/// of a scoring pass runs over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum Denominator {
    /// Sink rows, the rows of the chunk and the new rows that the query sees: what KVzip's released
    /// code does. Scores are in `0..=1`.
    #[default]
    Subset,
    /// Every row that the query sees: KVzip's definition without chunks. The attention of the pass
    /// itself gives the logarithms of the sums. Scores are in `0..=1`.
    Full,
    /// Nothing: the score is the largest logit itself, of either sign. The paper's cheaper form; it
    /// costs about 10 points of ratio.
    None,
}

impl Denominator {
    /// All of them, the usual one first.
    pub const ALL: [Self; 3] = [Self::Subset, Self::Full, Self::None];

    /// How messages name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Subset => "subset",
            Self::Full => "full",
            Self::None => "none",
        }
    }
}
