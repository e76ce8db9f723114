//! What listing makes, from the definition.

use crate::Result;
use crate::attention::KeepLists;

/// The lists of heads whose pairs of a context of `n` are kept or not, `keep [heads, n]`.
///
/// # Errors
/// As [`KeepLists::new`].
pub fn reference(keep: &[bool], n: usize, prefix: u32, appended: u32) -> Result<KeepLists> {
    let length = prefix + n as u32 + appended;
    let list = |head: &[bool]| -> Vec<u32> {
        let stays = |row: &u32| match row.checked_sub(prefix) {
            Some(position) => head.get(position as usize).is_none_or(|kept| *kept),
            None => true,
        };
        (0..length).filter(stays).collect()
    };
    let lists: Vec<_> = keep.chunks(n.max(1)).map(list).collect();
    KeepLists::new(&lists, &vec![length; lists.len()])
}
