//! The published system's own tensors.

use super::layer::padded;
use super::{ResidualElement, ResidualLayer, ResidualLayout};
use crate::{Error, Result};
use half::f16;

/// Outputs of a word.
const PER_WORD: usize = ResidualElement::Int4.per_word();

impl ResidualLayer {
    /// Imports the tensors of the published code: `words`, `[cols, rows / 8]`, codes of 4 bits, and
    /// `scales`, `[rows]`, which lie place after place within words: that of output `8 w + m` is
    /// number `m rows / 8 + w`.
    ///
    /// Words are those of our format without padding, so the import is exact. The published scales may
    /// be f16, bf16 or f32; others than f16 have to be rounded by the caller.
    ///
    /// # Errors
    /// [`Error::Alignment`] for outputs that are no multiple of 8, [`Error::Shape`] where lengths
    /// disagree, and as [`ResidualLayer::from_parts`].
    pub fn from_published(rows: usize, cols: usize, words: &[u32], scales: &[f16]) -> Result<Self> {
        let layout = ResidualLayout::new(rows, cols, ResidualElement::Int4)?;
        let each = words_of(rows)?;
        if each.checked_mul(cols) != Some(words.len()) {
            let expected = format!("{cols} x {each}");
            return Err(Error::shape("words of the published residual", expected, words.len()));
        }
        if scales.len() != rows {
            return Err(Error::shape("scales of the published residual", rows, scales.len()));
        }
        let mut ours = vec![0; layout.words()];
        for (ours, theirs) in ours.chunks_exact_mut(layout.stride()).zip(words.chunks_exact(each)) {
            ours[..each].copy_from_slice(theirs);
        }
        let natural = |row: usize| scales[row % PER_WORD * each + row / PER_WORD];
        let scales: Vec<f16> = (0..rows).map(natural).collect();
        Self::from_parts(layout, ours, padded(&layout, &scales))
    }

    /// Words and scales as [`ResidualLayer::from_published`] takes them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another element than [`ResidualElement::Int4`],
    /// [`Error::Alignment`] for outputs that are no multiple of 8.
    pub fn to_published(&self) -> Result<(Vec<u32>, Vec<f16>)> {
        let (rows, element) = (self.rows(), self.element());
        if element != ResidualElement::Int4 {
            let why = "the published code has codes of 4 bits alone";
            return Err(Error::unsupported(
                format!("a published {} residual", element.name()),
                why,
            ));
        }
        let each = words_of(rows)?;
        let channels = self.words().chunks_exact(self.layout().stride());
        let words = channels.flat_map(|channel| &channel[..each]).copied().collect();
        let reordered = |at: usize| self.scales()[at % each * PER_WORD + at / each];
        Ok((words, (0..rows).map(reordered).collect()))
    }
}

/// Words of a channel without padding.
fn words_of(rows: usize) -> Result<usize> {
    if rows.is_multiple_of(PER_WORD) {
        return Ok(rows / PER_WORD);
    }
    let (what, multiple) = ("outputs of a published residual".to_owned(), PER_WORD as u64);
    Err(Error::Alignment { what, multiple, value: rows as u64 })
}
