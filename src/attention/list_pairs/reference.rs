//! What listing makes, from the definition.

use super::NAME;
use crate::attention::KeepLists;
use crate::{Error, Result};

/// The lists of heads whose pairs of a context of `n` are kept or not, `keep [heads, n]`.
///
/// # Errors
/// [`Error::Range`] for more rows of a head than u32 counts; as [`KeepLists::new`].
pub fn reference(keep: &[bool], n: usize, prefix: u32, appended: u32) -> Result<KeepLists> {
    let around = u64::from(prefix) + u64::from(appended);
    let length = (n as u64).saturating_add(around);
    let length = u32::try_from(length).map_err(|_| {
        Error::range(format!("rows of a head of {NAME}"), format!("0..={}", u32::MAX), length)
    })?;
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
