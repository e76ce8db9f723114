//! `prefill`: attention of many new tokens to one layer's cache.
//!
//! The new rows are appended first; the map then says where all rows lie, and [`BoundByMap::record`]
//! refuses one that was not brought up to date. Masks of pairs that stay are [`decode`](super::decode)'s only: a
//! pass under a mask is decoded in steps of up to `16 / G` tokens.
//!
//! ```no_run
//! use fewbytes::Knobs;
//! use fewbytes::attention::{DecodeQueries, RowMap};
//! use fewbytes_wgpu::ops::prefill::{self, KeyRows};
//! use fewbytes_wgpu::ops::{DeviceCache, DeviceRowMap};
//! use fewbytes_wgpu::{Context, Result, View};
//!
//! fn attend(ctx: &Context, cache: &DeviceCache, q: &View, o: &View, q_len: usize) -> Result<()> {
//!     let map = DeviceRowMap::upload(ctx, RowMap::new(cache.layout(), &[])?)?;
//!     let queries = DecodeQueries { q_len, ..DecodeQueries::new(cache.layout().shape(), 4) };
//!     let plan = prefill::plan(ctx, queries, cache.layout(), map.map(), &Knobs::DEFAULT)?;
//!     let bound = plan.bind(q, &KeyRows::of(cache), &map, o, None)?;
//!     ctx.submit(|pass| bound.record(pass, &map, cache.layout()))
//! }
//! ```

use super::decode::{Rows, expect};
use super::decode_merge::expect_lse;
use super::{BoundByMap, DeviceCache, DeviceRowMap};
use crate::{Arg, Context, Element, View};
use fewbytes::attention::decode::{KEY_PARAMS, KEYS, LSE, O, Q, VALUE_PARAMS, VALUES};
use fewbytes::attention::{
    CacheShape, DecodeQueries, Layout, Prefill, ROW_MAP, RowMap, RowMapShape,
};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The rows of a cache on the device, for kernels that may not need the values.
#[derive(Debug, Clone, Copy)]
pub struct KeyRows<'a> {
    /// Keys, `[rows, row_words]`, u32.
    pub keys: &'a View,
    /// Parameters of keys, `[rows]`, u32; of int8 and int4 only.
    pub key_params: Option<&'a View>,
    /// Values, `[rows, row_words]`, u32; for [`Plan`] alone.
    pub values: Option<&'a View>,
    /// Parameters of values, `[rows]`, u32; of int8 and int4, for [`Plan`] alone.
    pub value_params: Option<&'a View>,
}

impl<'a> KeyRows<'a> {
    /// Keys and values of a cache.
    pub fn of(cache: &'a DeviceCache) -> Self {
        Self {
            keys: cache.keys(),
            key_params: cache.key_params(),
            values: Some(cache.values()),
            value_params: cache.value_params(),
        }
    }
}

impl<'a> From<Rows<'a>> for KeyRows<'a> {
    fn from(rows: Rows<'a>) -> Self {
        let [key_params, value_params] = match rows.params {
            Some([keys, values]) => [Some(keys), Some(values)],
            None => [None, None],
        };
        Self { keys: rows.keys, key_params, values: Some(rows.values), value_params }
    }
}

/// The launch of one attention; none for no tokens.
pub struct Plan {
    spec: Prefill,
    plan: crate::Plan,
}

/// Plans attention for a layout by its map. It stays good while the layout's places and the numbers of
/// tokens and starts stay the same.
///
/// # Errors
/// As [`Prefill::new`] and [`Context::plan_with`].
pub fn plan(
    ctx: &Context,
    queries: DecodeQueries,
    layout: &Layout,
    map: &RowMap,
    knobs: &Knobs,
) -> Result<Plan> {
    let spec = Prefill::new(queries, layout, map)?;
    Ok(Plan { spec, plan: ctx.plan_with(&spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &Prefill {
        &self.spec
    }

    /// Kernel and variant of every launch.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations: of the rows that the map had.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds `q [q_len, H G, D]`, the rows, the map, `o` of the shape of `q` and, where asked
    /// for, `lse [q_len, H G]` of f32: recording then allocates nothing. The map is read when the pass
    /// runs.
    ///
    /// # Errors
    /// [`Error::Shape`] for a map of another shape, for views of another type or length, and for values,
    /// parameters or an `lse` too many or missing; as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        q: &View,
        rows: &KeyRows<'_>,
        map: &DeviceRowMap,
        o: &View,
        lse: Option<&View>,
    ) -> Result<BoundByMap> {
        let Prefill { shape, tensor_rows, queries, map: map_shape, .. } = &self.spec;
        let mut args = args_of(shape, *tensor_rows, queries, (q, map, map_shape), rows)?;
        let missing = || Error::shape("values of a cache", "given", "none");
        let values = rows.values.ok_or_else(missing)?;
        let count = u64::from(*tensor_rows);
        expect(values, "values", Element::U32, count * shape.row_words() as u64)?;
        let one = std::slice::from_ref;
        args.push(Arg { binding: VALUES, pieces: one(values) });
        args.extend(args_of_params(
            shape,
            ("parameters of values", VALUE_PARAMS, count),
            rows.value_params,
        )?);
        o.expect("o", queries.output.into(), queries.q_len_of(shape))?;
        args.push(Arg { binding: O, pieces: one(o) });
        expect_lse(lse, queries.lse, queries.lse_len(shape.kv_heads()))?;
        args.push(Arg { binding: LSE, pieces: lse.map(one).unwrap_or_default() });
        Ok(BoundByMap::new(self.plan.bind(&args, None)?, map, *tensor_rows))
    }
}

/// Queries, keys and the map, once they have the types and lengths that a spec says.
pub(super) fn args_of<'a>(
    shape: &CacheShape,
    tensor_rows: u32,
    queries: &DecodeQueries,
    (q, map, map_shape): (&'a View, &'a DeviceRowMap, &RowMapShape),
    rows: &KeyRows<'a>,
) -> Result<Vec<Arg<'a>>> {
    let count = u64::from(tensor_rows);
    q.expect("q", queries.input.into(), queries.q_len_of(shape))?;
    let map = map.of_shape(map_shape)?;
    expect(map, "row map", Element::U32, map_shape.words())?;
    expect(rows.keys, "keys", Element::U32, count * shape.row_words() as u64)?;
    let one = |binding, view: &'a View| Arg { binding, pieces: std::slice::from_ref(view) };
    let mut args = vec![one(Q, q), one(KEYS, rows.keys), one(ROW_MAP, map)];
    let params = ("parameters of keys", KEY_PARAMS, count);
    args.extend(args_of_params(shape, params, rows.key_params)?);
    Ok(args)
}

pub(super) fn args_of_params<'a>(
    shape: &CacheShape,
    (what, binding, count): (&str, u32, u64),
    params: Option<&'a View>,
) -> Result<Option<Arg<'a>>> {
    let scaled = shape.element().scaled();
    if params.is_some() != scaled {
        let words = |given| if given { "given" } else { "none" };
        return Err(Error::shape(what, words(scaled), words(params.is_some())));
    }
    let Some(params) = params else { return Ok(None) };
    expect(params, what, Element::U32, count)?;
    Ok(Some(Arg { binding, pieces: std::slice::from_ref(params) }))
}
