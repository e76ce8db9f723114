//! `gather_kv`: the rows that stay of a cache, copied into another.

use super::DeviceCache;
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::GatherKv;
use fewbytes::attention::gather_kv::{
    FIRST, FROM_HEADS, FROM_PAGES, Gathered, ROWS, TO_HEADS, TO_PAGES,
};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launches of one copy; none where no row stays.
pub struct Plan {
    spec: GatherKv,
    plan: crate::Plan,
}

/// Plans a copy: of [`DeviceCache::gather_spec`] usually.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &GatherKv, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &GatherKv {
        &self.spec
    }

    /// Bytes of one copy.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds both caches, `first [kv_heads + 1]` and `rows`, the lists of what stays, of u32: recording
    /// then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for caches of another kind than the plan's and views of another type or length,
    /// and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        from: &DeviceCache,
        to: &DeviceCache,
        first: &View,
        rows: &View,
    ) -> Result<Bound> {
        let fitting = from.gather_spec(to, self.spec.rows)?;
        if fitting != self.spec {
            let (expected, found) = (format!("{:?}", self.spec), format!("{fitting:?}"));
            return Err(Error::shape("caches to gather", expected, found));
        }
        let heads = self.spec.shape.kv_heads();
        first.expect("beginnings of lists of kept rows", Element::U32, heads + 1)?;
        rows.expect("lists of kept rows", Element::U32, self.spec.rows as usize)?;
        let mut all = vec![
            (FROM_HEADS, Some(from.heads())),
            (FROM_PAGES, from.page_table()),
            (TO_HEADS, Some(to.heads())),
            (TO_PAGES, to.page_table()),
            (FIRST, Some(first)),
            (ROWS, Some(rows)),
        ];
        for tensor in self.spec.tensors() {
            let (old, new) = tensor.bindings();
            all.push((old, view_of(from, tensor)));
            all.push((new, view_of(to, tensor)));
        }
        let arg = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        let args: Vec<_> =
            all.into_iter().filter_map(|(binding, view)| Some(arg(binding, view?))).collect();
        self.plan.bind(&args, None)
    }
}

fn view_of(cache: &DeviceCache, tensor: Gathered) -> Option<&View> {
    match tensor {
        Gathered::Keys => Some(cache.keys()),
        Gathered::Values => Some(cache.values()),
        Gathered::KeyParams => cache.key_params(),
        Gathered::ValueParams => cache.value_params(),
        Gathered::Positions => cache.positions(),
    }
}
