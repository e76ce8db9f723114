//! `score_rows`: exact logits of all rows of a cache, or of those that lists have.
//!
//! A logit is that of [`decode_split`](super::decode_split) in base 2: `scale log2(e) q.k`, under a softcap
//! `c` `c log2(e) tanh(scale q.k / c)`. Beside them come the largest of each query row, as integers of the
//! same order: [`reference::image`]; 0 where there is none.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 12 words, see `shaders/attention/score_rows/params.wgsl` |
//! | 1 | q | `[T, H G, D]`, f32, or f16 in pairs |
//! | 2 | keys | `[rows, row_words]`, u32: [the format](super#rows) |
//! | 3, 5 | values, value_params | declared, and absent |
//! | 4 | key_params | `[rows]`, u32; of int8 and int4 only |
//! | 6 | schedule | u32: [`RowMap`](super::RowMap), without starts; of [`Scored::Seen`] |
//! | 19 | lists | `[L][capacity]`, u32, rows of the tensors; of [`Scored::Listed`] |
//! | 20 | counts | `[L][4]`, u32, rows listed first; of [`Scored::Listed`] |
//! | 21 | scores | `[T H G][stride]`, f32; of [`Scored::Seen`] |
//! | 22 | tops | `[T H G]`, u32 |
//! | 27 | picked | `[L][Q][capacity]`, f32; of [`Scored::Listed`] |
//!
//! Of all rows each key is read once for all query rows of its KV head; a row that a query row does not see
//! has the score -1e30, and scores beyond the last row of a head are not written, nor those beyond a list.
//! Largest logits of all rows are joined by atomic maxima of integers, which a launch before it sets to 0; of
//! lists, a launch after it finds them in what was picked. Both orders repeat bit by bit.
//!
//! | variant | workgroup | needs |
//! |---|---|---|
//! | `baseline` | 128 lanes; a lane has a key | nothing |
//! | `subgroup` | 128 lanes; a lane has 16 numbers of a key in registers, and the lanes of a key add up by shuffles | subgroups of at least the lanes of a key: 4, 8, 8, 8, 16 for `D` = 64, 80, 96, 128, 256 |
//!
//! Knobs: `reduce`, as of [`decode_split`](super::decode_split). [`Traffic`](crate::launch::Traffic) is the rows of keys read, with
//! their parameters, `q`, and the scores; `rows` says how many rows that is. Source: the dense scores of exact
//! top-k attention, and the second stage of "A^3", Ham et al., HPCA 2020, arXiv 2002.10941.

mod launches;
pub mod reference;
#[cfg(test)]
mod tests;

use super::decode::{self, DecodeQueries};
use super::sparse::Lists;
use super::{CacheShape, RowMapShape};
use crate::launch::{Caps, Knobs, Launch, Spec};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "score_rows";

/// Which rows have logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scored {
    /// All that a token sees.
    Seen {
        /// How long the row map is.
        map: RowMapShape,
        /// Scores of a query row, a multiple of 4; no head has more rows.
        stride: u32,
    },
    /// Those of lists.
    Listed,
}

/// Logits, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRows {
    /// What rows are.
    pub shape: CacheShape,
    /// Rows of the tensors.
    pub tensor_rows: u32,
    /// Who asks; outputs do not matter.
    pub queries: DecodeQueries,
    /// The same, and what lists are.
    pub lists: Lists,
    /// Which rows.
    pub scored: Scored,
    /// Rows that are read, of all heads or all lists: for [`Traffic`](crate::launch::Traffic) only.
    pub rows: u64,
}

impl ScoreRows {
    /// KV heads, or lists: what workgroups share keys of.
    fn places(&self) -> u32 {
        match self.scored {
            Scored::Seen { .. } => self.lists.heads,
            Scored::Listed => self.lists.count(),
        }
    }

    /// Query rows of a place.
    fn place_rows(&self) -> u32 {
        match self.scored {
            Scored::Seen { .. } => self.lists.tokens * self.lists.group,
            Scored::Listed => self.lists.queries(),
        }
    }

    /// Scores of a query row.
    pub fn stride(&self) -> u32 {
        match self.scored {
            Scored::Seen { stride, .. } => stride,
            Scored::Listed => self.lists.capacity,
        }
    }

    /// Elements of `scores`, or of `picked`.
    pub fn scores_len(&self) -> u64 {
        u64::from(self.lists.query_rows()) * u64::from(self.stride())
    }

    /// Words of `lists`.
    pub fn lists_len(&self) -> u64 {
        u64::from(self.lists.count()) * u64::from(self.lists.capacity)
    }

    fn check(&self) -> Result<()> {
        let Self { shape, queries, lists, scored, .. } = self;
        queries.check()?;
        lists.check()?;
        for (what, expected, found) in [
            ("KV heads of lists", shape.kv_heads(), lists.heads),
            ("query heads of a KV head, of lists,", queries.group, lists.group),
            ("new tokens of lists", queries.q_len, lists.tokens),
        ] {
            if found as usize != expected {
                return Err(Error::shape(what, expected, found));
            }
        }
        shape.checked_rows(self.tensor_rows.into())?;
        if let Scored::Seen { map, stride } = scored {
            if map.heads != lists.heads {
                return Err(Error::shape("KV heads of the row map", lists.heads, map.heads));
            }
            if map.starts != 0 {
                let what = format!("new tokens with starts of a window, of {NAME},");
                return Err(Error::range(what, "0..=0", map.starts));
            }
            if *stride == 0 || !stride.is_multiple_of(4) {
                let what = format!("scores of a query row of {NAME}");
                return Err(Error::range(what, "multiples of 4", stride));
            }
        }
        if u32::try_from(self.scores_len()).is_err() {
            let limit = format!("0..={}", u32::MAX);
            return Err(Error::range(format!("scores of {NAME}"), limit, self.scores_len()));
        }
        Ok(())
    }

    /// Elements of `q`.
    pub fn q_len(&self) -> usize {
        self.queries.q_len_of(&self.shape)
    }

    /// A tensor of `q`'s.
    fn operand_of_q(&self, caps: &Caps) -> Result<crate::launch::Operand> {
        let each = self.queries.input.bytes();
        decode::operand((decode::Q, "q"), self.q_len() as u64, each, caps)
    }
}

impl Spec for ScoreRows {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// Logits, and a launch before or after for the largest.
    ///
    /// # Errors
    /// As [`Lists::check`]; [`Error::Shape`] for lists and a row map of other queries and heads;
    /// [`Error::Range`] for queries that decoding does not take, a map with starts of a window, a `stride` that
    /// is no multiple of 4 and more scores than u32 counts; [`Error::Unsupported`] for subgroups that do not
    /// hold the lanes of a key; [`Error::BindingTooLarge`] naming the tensor.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let scores = self.score(caps, knobs)?;
        Ok(match self.scored {
            Scored::Seen { .. } => vec![self.clear(caps)?, scores],
            Scored::Listed => vec![scores, self.largest(caps)?],
        })
    }
}
