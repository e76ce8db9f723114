//! Recording much work in submissions of bounded size.

use crate::{Bound, Context};
use fewbytes::Result;

/// Bound launches with an estimate of their operations.
pub(super) struct Work {
    pub(super) bound: Bound,
    pub(super) operations: u64,
}

/// Submits work in order, at most about `limit` operations at a time.
pub(super) fn submit<'a>(
    ctx: &Context,
    work: impl IntoIterator<Item = &'a Work>,
    limit: u64,
) -> Result<()> {
    let mut work = work.into_iter().peekable();
    while work.peek().is_some() {
        ctx.submit(|pass| {
            let mut sum = 0u64;
            while let Some(next) = work.peek() {
                let with = sum.saturating_add(next.operations);
                if sum > 0 && with > limit {
                    break;
                }
                sum = with.max(1);
                next.bound.record(pass)?;
                work.next();
            }
            Ok(())
        })?;
    }
    Ok(())
}
