//! What an index is made from: the rows of a cache, as they come.

use super::{INDEX_MAP, IndexShape};
use crate::attention::decode::{KEY_PARAMS, KEYS, VALUE_PARAMS, VALUES};
use crate::attention::element::Rows;
use crate::attention::places::whole;
use crate::attention::{CacheShape, ROW_MAP, RowMapShape};
use crate::launch::{Binding, Caps, Operand, Part, part};
use crate::{Error, Result};

/// New rows of a cache, of which an index is made.
///
/// Which rows are new is told by the index's map when the launch runs: `from .. rows` of each head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexSource {
    /// What rows are.
    pub shape: CacheShape,
    /// Rows of the tensors.
    pub tensor_rows: u32,
    /// How long the row map is; without starts.
    pub map: RowMapShape,
    /// What is made.
    pub index: IndexShape,
    /// New rows of a head that there are workgroups for; more take turns, and come out right.
    pub at_once: u32,
}

impl IndexSource {
    pub(in crate::attention) fn check(&self) -> Result<()> {
        let Self { shape, index, .. } = self;
        index.check_map(&self.map)?;
        for (what, expected, found) in [
            ("KV heads of an index", shape.kv_heads(), index.heads),
            ("columns of an index", shape.head_dim(), index.dim),
        ] {
            if expected != found as usize {
                return Err(Error::shape(what, expected, found));
            }
        }
        index.check_at_once(self.at_once)?;
        shape.checked_rows(self.tensor_rows.into())?;
        Ok(())
    }

    /// Constants of the rows.
    pub(in crate::attention) fn preamble(&self) -> String {
        let (quads, pieces) = (self.shape.head_dim() / 4, self.shape.row_words() / 4);
        format!("const HEAD_QUADS: u32 = {quads}u;\nconst ROW_PIECES: u32 = {pieces}u;\n")
    }

    /// Parts that read rows.
    pub(in crate::attention) fn parts(&self) -> Vec<Part> {
        let mut parts = self.shape.element().parts(Rows::Both);
        parts.extend([
            part!("attention/tiles/segment.wgsl"),
            match self.map.page_rows {
                0 => part!("attention/rows_contiguous.wgsl"),
                _ => part!("attention/rows_paged.wgsl"),
            },
            part!("attention/sparse/index_map.wgsl"),
        ]);
        parts
    }

    /// What is bound of the cache and the index, values where they are read.
    pub(in crate::attention) fn operands(
        &self,
        bindings: &[Binding],
        values: bool,
        caps: &Caps,
    ) -> Result<Vec<Operand>> {
        let rows = u64::from(self.tensor_rows);
        let words = rows * self.shape.row_words() as u64;
        let mut all = Vec::new();
        for number in bindings.iter().map(|binding| binding.number) {
            all.push(match number {
                0 => continue,
                VALUES | VALUE_PARAMS if !values => continue,
                KEYS => whole(KEYS, "keys of a cache", words, caps)?,
                VALUES => whole(VALUES, "values of a cache", words, caps)?,
                KEY_PARAMS => whole(KEY_PARAMS, "parameters of keys", rows, caps)?,
                VALUE_PARAMS => whole(VALUE_PARAMS, "parameters of values", rows, caps)?,
                ROW_MAP => whole(ROW_MAP, "row map", self.map.words(), caps)?,
                INDEX_MAP.. if number <= super::FLAGS => self.index.operand(number, caps)?,
                // Scratch memory.
                _ => continue,
            });
        }
        // A cache without rows has no bytes to bind: none are read.
        all.retain(|operand| operand.bytes > 0);
        Ok(all)
    }
}

impl IndexShape {
    pub(in crate::attention) fn check_at_once(&self, rows: u32) -> Result<()> {
        if rows == 0 || rows > self.most {
            let limit = format!("1..={}, the most that a head has room for", self.most);
            return Err(Error::range("new rows of an index at once", limit, rows));
        }
        Ok(())
    }
}
