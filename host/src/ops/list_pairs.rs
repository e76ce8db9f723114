//! `list_pairs`: lists of the rows that stay, from a mask of kept pairs.

use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::ListPairs;
use fewbytes::attention::list_pairs::{BLOCKS, FIRST, MASK, ROWS};
use fewbytes::{Knobs, Result};

/// The launch of some heads' lists.
pub struct Plan {
    spec: ListPairs,
    plan: crate::Plan,
}

/// Plans lists.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &ListPairs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, &Knobs::DEFAULT)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &ListPairs {
        &self.spec
    }

    /// Binds mask and counts of blocks, of all layers, and the lists: `first [heads + 1]` and `rows`, all of
    /// u32. Recording then allocates nothing.
    ///
    /// # Errors
    /// [`fewbytes::Error::Shape`] for views of another type or length, and as [`crate::Plan::bind`].
    pub fn bind(&self, mask: &View, blocks: &View, first: &View, rows: &View) -> Result<Bound> {
        mask.expect("mask of kept pairs", Element::U32, self.spec.mask_len())?;
        blocks.expect("counts of kept pairs", Element::U32, self.spec.blocks_len())?;
        first.expect("beginnings of lists of kept rows", Element::U32, self.spec.heads + 1)?;
        rows.expect("lists of kept rows", Element::U32, self.spec.rows as usize)?;
        let arg = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        let args = [arg(MASK, mask), arg(BLOCKS, blocks), arg(FIRST, first), arg(ROWS, rows)];
        self.plan.bind(&args, None)
    }
}
