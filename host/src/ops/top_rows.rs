//! `top_rows`: lists of the rows with the highest ranks.

use super::decode::expect;
use super::{BoundByMap, DeviceRowMap};
use crate::{Arg, Context, Element, View};
use fewbytes::attention::sparse::{
    COUNTS, FLAGS, INDEX_MAP, LISTS, PICKED, REST, SCORES, TOPS, UNREAD,
};
use fewbytes::attention::top_rows::{NAME, Ranked};
use fewbytes::attention::{ROW_MAP, TopRows};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launches of a step's lists.
pub struct Plan {
    spec: TopRows,
    plan: crate::Plan,
}

/// What ranks are read from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The index's map, `[H][8]`, u32; of [`Ranked::Index`].
    pub index_map: Option<&'a View>,
    /// Flags of heads, `[H]`, u32; of [`Ranked::Index`].
    pub flags: Option<&'a View>,
    /// What components that are not read come to, `[T, H G]`, f32, where [`TopRows::unread_len`] is not 0.
    pub unread: Option<&'a View>,
    /// Largest scores, `[T H G]`, u32, where [`TopRows::tops_len`] is not 0.
    pub tops: Option<&'a View>,
}

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// `[L][capacity]`, u32.
    pub lists: &'a View,
    /// `[L][4]`, u32.
    pub counts: &'a View,
    /// Scores of listed rows, f32, where [`TopRows::picked_len`] is not 0.
    pub picked: Option<&'a View>,
    /// Weights of rows that are not listed, `[T H G]`, f32, where [`TopRows::unread_len`] is not 0.
    pub rest: Option<&'a View>,
}

/// Plans lists.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &TopRows, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &TopRows {
        &self.spec
    }

    /// Bytes and operations of one step.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Bytes of scratch memory for what slices of lists leave for each other; 0 where a workgroup makes a list.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Binds `scores` of [`TopRows::scores_len`] elements of f32, the row map and the rest: recording then
    /// allocates nothing. `tensor_rows` is the rows of the cache that the lists are of.
    ///
    /// # Errors
    /// [`Error::Shape`] for a map of another shape, for views of another type or length and for views too
    /// many or missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        scores: &View,
        map: &DeviceRowMap,
        sources: Sources<'_>,
        outputs: Outputs<'_>,
        tensor_rows: u32,
        scratch: Option<&View>,
    ) -> Result<BoundByMap> {
        let spec = &self.spec;
        let one = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        let words = map.of_shape(&spec.map)?;
        expect(scores, &format!("scores of {NAME}"), Element::F32, spec.scores_len())?;
        expect(outputs.lists, "lists of rows", Element::U32, spec.lists_len())?;
        expect(outputs.counts, "counts of lists", Element::U32, spec.counts_len())?;
        let mut args = vec![
            one(ROW_MAP, words),
            one(SCORES, scores),
            one(LISTS, outputs.lists),
            one(COUNTS, outputs.counts),
        ];
        let (map_words, heads) = match spec.ranked {
            Ranked::Index { shape, .. } => (shape.map_words(), u64::from(shape.heads)),
            Ranked::Seen { .. } => (0, 0),
        };
        let rest = if spec.unread_len() > 0 { spec.lists.query_rows().into() } else { 0 };
        for (binding, what, view, element, wanted) in [
            (INDEX_MAP, "index map", sources.index_map, Element::U32, map_words),
            (FLAGS, "flags of an index", sources.flags, Element::U32, heads),
            (
                UNREAD,
                "unread components of scores",
                sources.unread,
                Element::F32,
                spec.unread_len(),
            ),
            (TOPS, "largest scores", sources.tops, Element::U32, spec.tops_len()),
            (PICKED, "scores of listed rows", outputs.picked, Element::F32, spec.picked_len()),
            (REST, "weights of the rest", outputs.rest, Element::F32, rest),
        ] {
            match view {
                None if wanted == 0 => {}
                Some(view) if wanted > 0 => {
                    expect(view, what, element, wanted)?;
                    args.push(one(binding, view));
                }
                _ => {
                    let found = view.map_or("none".to_owned(), |view| view.len().to_string());
                    return Err(Error::shape(what, wanted, found));
                }
            }
        }
        Ok(BoundByMap::new(self.plan.bind(&args, scratch)?, map, tensor_rows))
    }
}
