//! The per-row tables of a layer, one set for every width that is shipped.

use super::TableElement;
use crate::{Error, Result};
use half::f16;

/// What to do about an entry that would be infinite.
pub(crate) const BEYOND_F16: &str = "an f16 table holds magnitudes below 65520; use f32 tables";

/// Entries of all rows' tables at one width, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entries {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

/// Tables for some of the widths 2 to 8; `table(b)` is `[rows, 2^b]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tables {
    element: TableElement,
    rows: usize,
    /// Indexed by width.
    by_bits: [Option<Entries>; 9],
}

impl Tables {
    /// No tables yet.
    pub fn new(element: TableElement, rows: usize) -> Self {
        Self { element, rows, by_bits: Default::default() }
    }

    /// Adds the tables of one width, `[rows, 2^bits]`, from values that the element can hold.
    ///
    /// # Errors
    /// [`Error::Range`] for a width outside 2..=8, [`Error::Shape`] for a wrong length,
    /// [`Error::Value`] for an entry that is not finite or that rounds to infinity.
    pub fn insert(&mut self, bits: u8, values: &[f32]) -> Result<()> {
        let entries = Entries::rounded(self.element, values);
        self.insert_entries(bits, entries, Some(values))
    }

    /// Adds the tables of one width from stored little-endian bytes of the element type.
    ///
    /// # Errors
    /// As [`Tables::insert`].
    pub fn insert_bytes(&mut self, bits: u8, bytes: &[u8]) -> Result<()> {
        let entries = Entries::stored(self.element, bytes, || format!("bytes of table {bits}"))?;
        self.insert_entries(bits, entries, None)
    }

    /// Tables of `widths`, which all parts have, the rows of each part after those of the one
    /// before. Where one part is f32 all become f32, which is exact.
    pub(crate) fn concat_rows(rows: usize, widths: &[u8], parts: &[&Self]) -> Result<Self> {
        let single = parts.iter().any(|part| part.element == TableElement::F32);
        let element = if single { TableElement::F32 } else { TableElement::F16 };
        let mut joined = Self::new(element, rows);
        for &bits in widths {
            let parts: Vec<&Entries> = parts.iter().filter_map(|part| part.entries(bits)).collect();
            let halves: Option<Vec<&[f16]>> = parts.iter().map(|part| part.halves()).collect();
            let entries = match halves {
                Some(halves) => Entries::F16(halves.concat()),
                None => Entries::F32(parts.iter().flat_map(|part| part.values()).collect()),
            };
            joined.insert_entries(bits, entries, None)?;
        }
        Ok(joined)
    }

    /// `given` is what the entries were rounded from.
    fn insert_entries(&mut self, bits: u8, entries: Entries, given: Option<&[f32]>) -> Result<()> {
        check_bits("table width", bits, 2, 8)?;
        let (levels, count) = (1usize << bits, entries.len());
        if count / levels != self.rows || !count.is_multiple_of(levels) {
            return Err(Error::shape(
                format!("entries of table {bits}"),
                format!("{} x {levels}", self.rows),
                count,
            ));
        }
        entries.check_finite(|| format!("{} table {bits}", self.element.name()), levels, given)?;
        self.by_bits[usize::from(bits)] = Some(entries);
        Ok(())
    }

    /// The element type.
    pub fn element(&self) -> TableElement {
        self.element
    }

    /// Rows of the layer.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The widths that have tables, ascending.
    pub fn widths(&self) -> impl Iterator<Item = u8> + '_ {
        (2..=8u8).filter(|&b| self.by_bits[usize::from(b)].is_some())
    }

    /// The table of one row at one width, widened to f32.
    pub fn row(&self, bits: u8, row: usize) -> Option<Vec<f32>> {
        let entries = self.entries(bits)?;
        let levels = 1usize << bits;
        (row < self.rows)
            .then(|| (row * levels..(row + 1) * levels).map(|i| entries.value(i)).collect())
    }

    /// The stored bytes of one width's tables, `[rows, 2^bits]`, little-endian.
    pub fn bytes(&self, bits: u8) -> Option<&[u8]> {
        self.entries(bits).map(Entries::bytes)
    }

    fn entries(&self, bits: u8) -> Option<&Entries> {
        self.by_bits.get(usize::from(bits))?.as_ref()
    }
}

impl Entries {
    /// Values rounded to the element type; infinite beyond its range.
    pub(super) fn rounded(element: TableElement, values: &[f32]) -> Self {
        match element {
            TableElement::F16 => Self::F16(values.iter().map(|&v| f16::from_f32(v)).collect()),
            TableElement::F32 => Self::F32(values.to_vec()),
        }
    }

    /// Stored little-endian bytes of whole elements.
    pub(super) fn stored(
        element: TableElement,
        bytes: &[u8],
        what: impl Fn() -> String,
    ) -> Result<Self> {
        if !bytes.len().is_multiple_of(element.bytes()) {
            let (multiple, value) = (element.bytes() as u64, bytes.len() as u64);
            return Err(Error::Alignment { what: what(), multiple, value });
        }
        Ok(match element {
            TableElement::F16 => Self::F16(bytemuck::pod_collect_to_vec(bytes)),
            TableElement::F32 => Self::F32(bytemuck::pod_collect_to_vec(bytes)),
        })
    }

    /// Whether all entries of tables of `levels` entries a row are finite. What is not is told as it
    /// was `given`, rather than as the infinity that it became.
    pub(super) fn check_finite(
        &self,
        what: impl Fn() -> String,
        levels: usize,
        given: Option<&[f32]>,
    ) -> Result<()> {
        let bad = match self {
            Self::F16(v) => v.iter().position(|e| !e.is_finite()),
            Self::F32(v) => v.iter().position(|e| !e.is_finite()),
        };
        match bad {
            None => Ok(()),
            Some(at) => {
                let value = given.map_or(self.value(at), |given| given[at]);
                Err(Error::Value {
                    what: what(),
                    row: at / levels,
                    col: at % levels,
                    value: value.into(),
                    rule: if value.is_finite() { BEYOND_F16 } else { "must be finite" },
                })
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::F16(v) => bytemuck::cast_slice(v),
            Self::F32(v) => bytemuck::cast_slice(v),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::F16(v) => v.len(),
            Self::F32(v) => v.len(),
        }
    }

    fn halves(&self) -> Option<&[f16]> {
        match self {
            Self::F16(v) => Some(v),
            Self::F32(_) => None,
        }
    }

    fn values(&self) -> impl Iterator<Item = f32> + '_ {
        (0..self.len()).map(|at| self.value(at))
    }

    pub(super) fn value(&self, at: usize) -> f32 {
        match self {
            Self::F16(v) => v[at].to_f32(),
            Self::F32(v) => v[at],
        }
    }
}

/// `value` must lie in `low..=high`.
pub(crate) fn check_bits(what: &str, value: u8, low: u8, high: u8) -> Result<()> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(Error::range(what, format!("{low}..={high}"), value))
    }
}

/// The widths as text, for messages.
pub(crate) fn list_widths(widths: impl Iterator<Item = u8>) -> String {
    widths.map(|b| b.to_string()).collect::<Vec<_>>().join(", ")
}
