//! `list_rows`: lists of the rows that a greedy search found, and the weight of the others.

use super::decode::expect;
use super::{BoundByMap, DeviceRowMap};
use crate::{Arg, Context, Element, View};
use fewbytes::attention::ListRows;
use fewbytes::attention::ROW_MAP;
use fewbytes::attention::decode::Q;
use fewbytes::attention::sparse::{COUNTS, FLAGS, FOUND, HITS, INDEX_MAP, LISTS, REST, SUMS, Tail};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launches of all lists of a step.
pub struct Plan {
    spec: ListRows,
    /// Rows of the cache's tensors.
    tensor_rows: u32,
    plan: crate::Plan,
}

/// What was searched, and what it is listed from.
#[derive(Debug, Clone, Copy)]
pub struct Searched<'a> {
    /// The words of the index's map, `[H][8]`, u32.
    pub index_map: &'a View,
    /// `[H]`, u32.
    pub flags: &'a View,
    /// `[T, H G][4]`, u32.
    pub found: &'a View,
    /// `[T, H G][most]`, u32: the bits of i32.
    pub hits: &'a View,
}

/// What the weight of the rest is estimated from, and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Rest<'a> {
    /// `[T, H G, D]`.
    pub q: &'a View,
    /// Sums of the index, `[H][3][D]`, f32.
    pub sums: &'a View,
    /// `[T, H G]`, f32.
    pub rest: &'a View,
}

/// Plans lists of the rows of a cache of so many rows.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &ListRows, tensor_rows: u32) -> Result<Plan> {
    Ok(Plan { spec: *spec, tensor_rows, plan: ctx.plan_with(spec, &Knobs::DEFAULT)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &ListRows {
        &self.spec
    }

    /// Bytes and operations of one step.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds what was searched, the row map, `lists [L][capacity]` and `counts [L][4]`, both of u32, and for
    /// [`Tail::Mean`] what the rest is estimated from. Recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for a map of another shape, for views of another type or length and where the rest is
    /// given or missing; as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        searched: &Searched<'_>,
        map: &DeviceRowMap,
        (lists, counts): (&View, &View),
        rest: Option<&Rest<'_>>,
    ) -> Result<BoundByMap> {
        let ListRows { lists: asked, queries, index, map: map_shape, tail, .. } = &self.spec;
        let rows = u64::from(asked.query_rows());
        let words = map.of_shape(map_shape)?;
        let mut all = vec![
            (ROW_MAP, words, "row map", Element::U32, map_shape.words()),
            (INDEX_MAP, searched.index_map, "index map", Element::U32, index.map_words()),
            (FLAGS, searched.flags, "flags of an index", Element::U32, index.heads.into()),
            (FOUND, searched.found, "what a search found", Element::U32, 4 * rows),
            (HITS, searched.hits, "hits of a search", Element::U32, self.spec.hits_len()),
            (LISTS, lists, "lists of rows", Element::U32, self.spec.lists_len()),
            (COUNTS, counts, "counts of lists", Element::U32, 4 * u64::from(asked.count())),
        ];
        if rest.is_some() != (*tail == Tail::Mean) {
            let given = |given| if given { "given" } else { "none" };
            let (expected, found) = (given(*tail == Tail::Mean), given(rest.is_some()));
            return Err(Error::shape("rest of lists of rows", expected, found));
        }
        if let Some(rest) = rest {
            all.extend([
                (Q, rest.q, "q", queries.input.into(), self.spec.q_len()),
                (SUMS, rest.sums, "sums of an index", Element::F32, index.sums_len()),
                (REST, rest.rest, "weights of the rest", Element::F32, rows),
            ]);
        }
        let mut args = Vec::new();
        for (binding, view, what, element, len) in all {
            expect(view, what, element, len)?;
            args.push(Arg { binding, pieces: std::slice::from_ref(view) });
        }
        Ok(BoundByMap::new(self.plan.bind(&args, None)?, map, self.tensor_rows))
    }
}
