//! Which query rows a list of rows is for.

use crate::attention::decode::MAX_ROWS;
use crate::{Error, Result};
use std::ops::Range;

/// Who has a list of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Share {
    /// Every query row.
    Query,
    /// All query heads of a KV head together, for each token: rows are read once for them.
    #[default]
    Group,
}

/// The lists of a search. List `l` is for query rows `l Q .. (l + 1) Q` of `q [T, H G, D]`, where `Q` is
/// [`Lists::queries`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lists {
    /// New tokens, or queries of a memory, that ask at once: `T`.
    pub tokens: u32,
    /// KV heads: `H`.
    pub heads: u32,
    /// Query heads that share one: `G`.
    pub group: u32,
    /// Who has a list.
    pub share: Share,
    /// Words of a list, a multiple of 4.
    pub capacity: u32,
    /// First rows of every head that are listed whatever was found.
    pub sinks: u32,
    /// Whether token `t` sees the first `len - T + t + 1` rows only; all of them otherwise.
    pub causal: bool,
}

impl Lists {
    /// # Errors
    /// [`Error::Range`] for none or too many tokens, heads or query heads, or a capacity that is no multiple of
    /// 4.
    pub fn check(&self) -> Result<()> {
        let limit = format!("1..={MAX_ROWS}");
        let rows = self.tokens.saturating_mul(self.group);
        for (what, value) in [
            ("query heads of a KV head", self.group),
            ("new tokens", self.tokens),
            ("query rows of a KV head, query heads times new tokens,", rows),
        ] {
            if !(1..=MAX_ROWS as u32).contains(&value) {
                return Err(Error::range(what, limit, value));
            }
        }
        if !(1..=0xffff).contains(&self.heads) {
            return Err(Error::range("KV heads of lists", "1..=65535", self.heads));
        }
        if self.capacity == 0 || !self.capacity.is_multiple_of(4) {
            return Err(Error::range("capacity of lists", "multiples of 4", self.capacity));
        }
        Ok(())
    }

    /// Query rows of a list.
    pub fn queries(&self) -> u32 {
        match self.share {
            Share::Query => 1,
            Share::Group => self.group,
        }
    }

    /// Query rows of all tokens and heads: `T H G`.
    pub fn query_rows(&self) -> u32 {
        self.tokens.saturating_mul(self.heads).saturating_mul(self.group)
    }

    /// How many lists there are; none of no query heads.
    pub fn count(&self) -> u32 {
        self.query_rows().checked_div(self.queries()).unwrap_or(0)
    }

    /// The KV head of a list.
    pub fn head_of(&self, list: u32) -> u32 {
        list * self.queries() / self.group % self.heads
    }

    /// The token of a list.
    pub fn token_of(&self, list: u32) -> u32 {
        list * self.queries() / (self.group * self.heads)
    }

    /// The query rows of a list.
    pub fn rows_of(&self, list: u32) -> Range<u32> {
        list * self.queries()..(list + 1) * self.queries()
    }

    /// How many of the `len` rows of its head a list's queries see.
    pub fn seen(&self, list: u32, len: u32) -> u32 {
        if !self.causal {
            return len;
        }
        (len + self.token_of(list) + 1).saturating_sub(self.tokens)
    }
}
