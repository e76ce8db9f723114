//! What gathering makes, from the definition.

use crate::attention::{KeepLists, LayoutView};
use crate::{Error, Result};

/// Rows of `row_words` words of the old cache's tensor, written to where they belong in the new one's.
///
/// # Errors
/// [`Error::Shape`] for lists of other heads than a view's, [`Error::Range`] for a row that one of the
/// caches has not.
pub fn reference(
    keep: &KeepLists,
    row_words: usize,
    (from_view, from): (&LayoutView, &[u32]),
    (to_view, to): (&LayoutView, &mut [u32]),
) -> Result<()> {
    for view in [from_view, to_view] {
        if view.heads.len() != keep.heads() {
            return Err(Error::shape("lists of kept rows", view.heads.len(), keep.heads()));
        }
    }
    let missing = |head, row| Error::range(format!("row of head {head}"), "rows of the cache", row);
    for head in 0..keep.heads() {
        for (new, &old) in (0..).zip(keep.head(head)) {
            let source = from_view.row(head, old).ok_or_else(|| missing(head, old))? as usize;
            let target = to_view.row(head, new).ok_or_else(|| missing(head, new))? as usize;
            let source = from.get(source * row_words..(source + 1) * row_words);
            let target = to.get_mut(target * row_words..(target + 1) * row_words);
            let source = source.ok_or_else(|| missing(head, old))?;
            target.ok_or_else(|| missing(head, new))?.copy_from_slice(source);
        }
    }
    Ok(())
}
