//! `attend_rows`: attention to listed rows, and the merge of its parts.
//!
//! Lists are what a search wrote. Which
//! kernels make a whole search is told at [sparse attention](super::sparse).

use super::decode::{Rows, expect};
use super::decode_merge::expect_lse;
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::decode::{KEY_PARAMS, KEYS, LSE, O, Q, VALUE_PARAMS, VALUES};
use fewbytes::attention::sparse::{COUNTS, INDEX_MAP, IndexShape, LISTS, Lists, REST, SUMS};
use fewbytes::attention::{AttendRows, Attending, CacheShape, DecodeQueries, Listed};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// Lists on the device.
#[derive(Debug, Clone, Copy)]
pub struct ListViews<'a> {
    /// `[L][capacity]`, u32: rows of the tensors.
    pub lists: &'a View,
    /// `[L][4]`, u32: the first of each four is how many rows a list has.
    pub counts: &'a View,
}

/// What is known of the rows that nobody listed.
#[derive(Debug, Clone, Copy)]
pub struct RestViews<'a> {
    /// The index map's words, u32.
    pub index_map: &'a View,
    /// Sums over the rows of an index, f32.
    pub sums: &'a View,
    /// `[T, H G]`, f32: logarithms to base 2 of the rest's weights.
    pub rest: &'a View,
}

/// Where outputs go.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// `[T, H G, D]`.
    pub o: &'a View,
    /// `[T, H G]` of f32, where asked for.
    pub lse: Option<&'a View>,
}

/// The launches of one attention to lists, and of its merge.
pub struct Plan {
    spec: AttendRows,
    rest: Option<IndexShape>,
    plan: crate::Plan,
}

/// Plans attention to lists; with `rest` the rows that nobody listed count.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(
    ctx: &Context,
    spec: &AttendRows,
    rest: Option<IndexShape>,
    knobs: &Knobs,
) -> Result<Plan> {
    let listed = Listed { attend: Attending::Rows(*spec), rest };
    Ok(Plan { spec: *spec, rest, plan: ctx.plan_with(&listed, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &AttendRows {
        &self.spec
    }

    /// Bytes of scratch memory for states of parts.
    pub fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Kernel and variant of every launch.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations, of as many rows as the spec said.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds `q [T, H G, D]`, the rows of the cache, the lists, what is known of the rest where it counts,
    /// and the outputs: recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length, and for parameters, a rest or an `lse` too many
    /// or missing; as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        q: &View,
        rows: &Rows<'_>,
        lists: &ListViews<'_>,
        rest: Option<&RestViews<'_>>,
        outputs: &Outputs<'_>,
        scratch: Option<&View>,
    ) -> Result<Bound> {
        let AttendRows { shape, tensor_rows, queries, .. } = &self.spec;
        q.expect("q", queries.input.into(), queries.q_len_of(shape))?;
        let tensors = [Some(rows.keys), Some(rows.values)];
        let params = [0, 1].map(|at| rows.params.and_then(|params| params.get(at).copied()));
        let mut args = vec![Arg { binding: Q, pieces: std::slice::from_ref(q) }];
        args.extend(args_of_rows(shape, *tensor_rows, tensors, params)?);
        args.extend(args_of_lists(&self.spec.lists, lists)?);
        args.extend(args_of_rest(&self.spec.lists, self.rest, rest)?);
        args.extend(args_of_outputs(shape, queries, outputs)?);
        self.plan.bind(&args, scratch)
    }
}

fn one(binding: u32, view: &View) -> Arg<'_> {
    Arg { binding, pieces: std::slice::from_ref(view) }
}

/// Keys and values, those that are given, and parameters of the same where the element has them.
pub(super) fn args_of_rows<'a>(
    shape: &CacheShape,
    tensor_rows: u32,
    tensors: [Option<&'a View>; 2],
    params: [Option<&'a View>; 2],
) -> Result<Vec<Arg<'a>>> {
    let count = u64::from(tensor_rows);
    let scaled = shape.element().scaled();
    let mut args = Vec::new();
    let names = [
        (KEYS, "keys", KEY_PARAMS, "parameters of keys"),
        (VALUES, "values", VALUE_PARAMS, "parameters of values"),
    ];
    for ((number, what, of_params, what_params), (tensor, params)) in
        names.into_iter().zip(tensors.into_iter().zip(params))
    {
        let wanted = scaled && tensor.is_some();
        if params.is_some() != wanted {
            let words = |given| if given { "given" } else { "none" };
            return Err(Error::shape(what_params, words(wanted), words(params.is_some())));
        }
        if let Some(tensor) = tensor {
            expect(tensor, what, Element::U32, count * shape.row_words() as u64)?;
            args.push(one(number, tensor));
        }
        if let Some(params) = params {
            expect(params, what_params, Element::U32, count)?;
            args.push(one(of_params, params));
        }
    }
    Ok(args)
}

pub(super) fn args_of_lists<'a>(lists: &Lists, views: &ListViews<'a>) -> Result<[Arg<'a>; 2]> {
    let count = u64::from(lists.count());
    expect(views.lists, "lists", Element::U32, count * u64::from(lists.capacity))?;
    expect(views.counts, "counts of lists", Element::U32, 4 * count)?;
    Ok([one(LISTS, views.lists), one(COUNTS, views.counts)])
}

pub(super) fn args_of_rest<'a>(
    lists: &Lists,
    planned: Option<IndexShape>,
    views: Option<&RestViews<'a>>,
) -> Result<Vec<Arg<'a>>> {
    let (Some(index), Some(views)) = (planned, views) else {
        if planned.is_some() != views.is_some() {
            let words = |given| if given { "given" } else { "none" };
            let (expected, found) = (words(planned.is_some()), words(views.is_some()));
            return Err(Error::shape("weights of the rest", expected, found));
        }
        return Ok(Vec::new());
    };
    expect(views.index_map, "index map", Element::U32, index.map_words())?;
    expect(views.sums, "sums of an index", Element::F32, index.sums_len())?;
    expect(views.rest, "weights of the rest", Element::F32, lists.query_rows().into())?;
    Ok(vec![one(INDEX_MAP, views.index_map), one(SUMS, views.sums), one(REST, views.rest)])
}

pub(super) fn args_of_outputs<'a>(
    shape: &CacheShape,
    queries: &DecodeQueries,
    outputs: &Outputs<'a>,
) -> Result<Vec<Arg<'a>>> {
    outputs.o.expect("o", queries.output.into(), queries.q_len_of(shape))?;
    expect_lse(outputs.lse, queries.lse, queries.lse_len(shape.kv_heads()))?;
    let mut args = vec![one(O, outputs.o)];
    args.extend(outputs.lse.map(|lse| one(LSE, lse)));
    Ok(args)
}
