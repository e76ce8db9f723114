//! What the model is told to repeat.

/// What is asked for the first chunk, in words.
pub const FIRST_INSTRUCTION: &str = "\n\nRepeat the previous context exactly.";
/// What is asked for every other chunk, in words; the last tokens of the chunk before follow.
pub const NEXT_INSTRUCTION: &str =
    "\n\nRepeat the part of the previous context exactly, starting with ";

/// The tokens around a chunk, by the caller's tokenizer. The wording hardly matters; other lists, empty
/// ones too, do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepeatTemplate {
    /// For the first chunk: [`FIRST_INSTRUCTION`].
    pub first: Vec<u32>,
    /// For every other chunk: [`NEXT_INSTRUCTION`].
    pub next: Vec<u32>,
    /// End of the user's turn and start of the assistant's, as the model's chat template has them.
    pub turn: Vec<u32>,
}

impl RepeatTemplate {
    /// The input for a chunk: `before` are the last tokens of the one before, none for the first.
    pub(super) fn input(&self, first: bool, before: &[u32], chunk: &[u32]) -> Vec<u32> {
        let instruction = if first { &self.first } else { &self.next };
        [instruction, before, &self.turn, chunk].concat()
    }
}
