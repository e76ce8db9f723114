//! Sizes and places of a residual.

use crate::{Error, Result};

/// What an element of a residual is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum ResidualElement {
    /// Codes of 2 bits: -1, 0, 1 times a scale an output.
    Int2,
    /// Codes of 4 bits: -7 to 7 times a scale an output.
    Int4,
    /// Codes of 8 bits: -127 to 127 times a scale an output.
    Int8,
    /// The residual as f16, without scales.
    F16,
}

impl ResidualElement {
    /// All of them, from the smallest.
    pub const ALL: [Self; 4] = [Self::Int2, Self::Int4, Self::Int8, Self::F16];

    /// Bits of an element.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Int2 => 2,
            Self::Int4 => 4,
            Self::Int8 => 8,
            Self::F16 => 16,
        }
    }

    /// Elements of a word of 32 bits.
    pub const fn per_word(self) -> usize {
        32 / self.bits() as usize
    }

    /// Whether there is a scale for every output.
    pub const fn scaled(self) -> bool {
        !matches!(self, Self::F16)
    }

    /// The largest `q` of a code; 0 for f16, which has none.
    pub const fn largest(self) -> i32 {
        match self {
            Self::F16 => 0,
            _ => (1 << (self.bits() - 1)) - 1,
        }
    }

    /// How messages and files name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::F16 => "f16",
        }
    }
}

/// Words of a line of 128 bytes.
const LINE: usize = 32;

/// A residual's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResidualLayout {
    rows: usize,
    cols: usize,
    element: ResidualElement,
}

impl ResidualLayout {
    /// The residual of a layer of `rows` outputs and `cols` input channels.
    ///
    /// # Errors
    /// [`Error::Shape`] for a size of 0, [`Error::Range`] where the words are more than u32 counts.
    pub fn new(rows: usize, cols: usize, element: ResidualElement) -> Result<Self> {
        if rows == 0 || cols == 0 {
            return Err(Error::shape(
                "residual",
                "rows and cols from 1",
                format!("{rows} x {cols}"),
            ));
        }
        let layout = Self { rows, cols, element };
        let words = rows
            .checked_add(LINE * element.per_word())
            .and_then(|_| layout.stride().checked_mul(cols))
            .unwrap_or(usize::MAX);
        if u32::try_from(words).is_err() {
            return Err(Error::range("words of a residual", format!("0..={}", u32::MAX), words));
        }
        Ok(layout)
    }

    /// Outputs of the layer.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input channels of the layer.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// What elements are stored as.
    pub fn element(&self) -> ResidualElement {
        self.element
    }

    /// Words from channel to channel.
    pub fn stride(&self) -> usize {
        LINE * self.rows.div_ceil(LINE * self.element.per_word())
    }

    /// Segments of a channel: stretches of 128 bytes.
    pub fn segments(&self) -> usize {
        self.stride() / LINE
    }

    /// Outputs of one segment.
    pub fn segment_rows(&self) -> usize {
        LINE * self.element.per_word()
    }

    /// Outputs with padding: scales that are stored.
    pub fn padded_rows(&self) -> usize {
        self.stride() * self.element.per_word()
    }

    /// Words of all channels.
    pub fn words(&self) -> usize {
        self.stride() * self.cols
    }

    /// Bytes of all channels.
    pub fn bytes(&self) -> u64 {
        4 * self.words() as u64
    }

    /// Bytes that `channels` of them are: what a step has to fetch.
    pub fn bytes_of(&self, channels: usize) -> u64 {
        4 * self.stride() as u64 * channels as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_to_lines_of_128_bytes() {
        for (element, rows, stride) in [
            (ResidualElement::Int4, 1, 32),
            (ResidualElement::Int4, 256, 32),
            (ResidualElement::Int4, 257, 64),
            (ResidualElement::Int2, 512, 32),
            (ResidualElement::Int8, 129, 64),
            (ResidualElement::F16, 64, 32),
        ] {
            let layout = ResidualLayout::new(rows, 3, element).unwrap();
            assert_eq!(layout.stride(), stride, "{element:?} {rows}");
            assert_eq!(layout.padded_rows(), layout.segments() * layout.segment_rows());
            assert_eq!(layout.bytes(), layout.bytes_of(3));
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let new = |rows, cols| ResidualLayout::new(rows, cols, ResidualElement::Int4);
        assert!(matches!(new(0, 1), Err(Error::Shape { .. })));
        assert!(matches!(new(1, 0), Err(Error::Shape { .. })));
        assert!(matches!(new(1, usize::MAX), Err(Error::Range { .. })));
        assert!(matches!(new(usize::MAX, 1), Err(Error::Range { .. })));
    }
}
