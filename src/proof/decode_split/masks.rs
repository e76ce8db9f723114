//! Masks, and what they leave.

use super::SplitCase;
use crate::Result;
use crate::attention::{KeepLists, KeepMask, KvCache};

impl SplitCase {
    /// The mask, and the rows that it leaves of every head.
    pub(super) fn masked(&self, cache: &KvCache) -> Result<Option<(KeepMask, KeepLists)>> {
        let Some([prefix, step]) = self.mask else { return Ok(None) };
        let (heads, n) = (self.kept.len(), self.kept[0] - prefix);
        let stays = |head: usize, p: u32| head + 1 < heads && p.is_multiple_of(step);
        let row_words = n.div_ceil(32) as usize;
        let mut words = vec![0; heads * row_words];
        let mut lists = Vec::new();
        for head in 0..heads {
            let mut list: Vec<u32> = (0..prefix).collect();
            for p in (0..n).filter(|p| stays(head, *p)) {
                words[head * row_words + p as usize / 32] |= 1 << (p % 32);
                list.push(prefix + p);
            }
            list.extend(prefix + n..cache.layout().len(head));
            lists.push(list);
        }
        let lists = KeepLists::new(&lists, &cache.layout().lengths())?;
        Ok(Some((KeepMask::from_words(1, heads, n, words)?, lists)))
    }
}
