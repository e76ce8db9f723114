//! What launches of several steps bind of an index.

use super::{COLUMNS, FLAGS, INDEX_MAP, IndexShape, ORDER, SORTED, SUMS};
use crate::attention::RowMapShape;
use crate::attention::places::whole;
use crate::launch::{Caps, Operand};
use crate::{Error, Result};

impl IndexShape {
    /// A tensor of the index by the number of its binding.
    pub(in crate::attention) fn operand(&self, binding: u32, caps: &Caps) -> Result<Operand> {
        let (what, words) = match binding {
            INDEX_MAP => ("index map", self.map_words()),
            COLUMNS => ("columns of an index", self.words()),
            SORTED => ("sorted columns of an index", self.words()),
            ORDER => ("order of an index", self.order_words()),
            SUMS => ("sums of an index", self.sums_len()),
            FLAGS => ("flags of an index", self.heads.into()),
            _ => return Err(Error::range("binding of an index", "10..=15", binding)),
        };
        whole(binding, what, words, caps)
    }

    /// Whether a row map is of the same heads and without starts of a window, which an index does not know.
    pub(in crate::attention) fn check_map(&self, map: &RowMapShape) -> Result<()> {
        if map.heads != self.heads {
            return Err(Error::shape("KV heads of the row map", self.heads, map.heads));
        }
        if map.starts != 0 {
            let what = "new tokens with starts of a window, of an index,";
            return Err(Error::range(what, "0..=0", map.starts));
        }
        Ok(())
    }
}
