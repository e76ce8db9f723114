//! The tensors of an index on the device.

use super::DeviceRowMap;
use super::decode::{Rows, expect};
use crate::{Arg, Element, View};
use fewbytes::attention::ROW_MAP;
use fewbytes::attention::decode::{KEY_PARAMS, KEYS, VALUE_PARAMS, VALUES};
use fewbytes::attention::sparse::{
    COLUMNS, FLAGS, INDEX_MAP, IndexShape, IndexSource, ORDER, SORTED, SUMS, SortedPair,
};
use fewbytes::{Error, Result};

/// Tensors of an index, as [`fewbytes::attention::sparse`] tells; what an index does not have is none.
#[derive(Debug, Clone, Copy)]
pub struct IndexTensors<'a> {
    /// The words of its map, `[H][8]`, u32.
    pub map: &'a View,
    /// f16, all elements.
    pub columns: &'a View,
    /// `[H]`, u32.
    pub flags: &'a View,
    /// `[H][3][D]`, f32.
    pub sums: Option<&'a View>,
    /// Sorted columns.
    pub sorted: Option<SortedTensors<'a>>,
}

/// Sorted columns, the index's or others.
#[derive(Debug, Clone, Copy)]
pub struct SortedTensors<'a> {
    /// Numbers: f16, all elements.
    pub sorted: &'a View,
    /// Rows: words of u32, [`IndexShape::order_words`].
    pub order: &'a View,
}

fn one(binding: u32, view: &View) -> Arg<'_> {
    Arg { binding, pieces: std::slice::from_ref(view) }
}

impl<'a> IndexTensors<'a> {
    /// What of an index is bound under numbers of [`INDEX_MAP`] and on.
    pub(super) fn args(&self, index: &IndexShape, numbers: &[u32]) -> Result<Vec<Arg<'a>>> {
        let none = |what: &str| Error::shape(what, "given", "none");
        let mut args = Vec::new();
        for &number in numbers {
            let sorted = || self.sorted.ok_or_else(|| none("sorted columns of an index"));
            let elements = u64::from(index.elements);
            let (view, what, element, len) = match number {
                INDEX_MAP => (self.map, "index map", Element::U32, index.map_words()),
                COLUMNS => (self.columns, "columns of an index", Element::F16, elements),
                FLAGS => (self.flags, "flags of an index", Element::U32, index.heads.into()),
                SUMS => {
                    let what = "sums of an index";
                    let sums = self.sums.ok_or_else(|| none(what))?;
                    (sums, what, Element::F32, index.sums_len())
                }
                SORTED | ORDER => {
                    args.extend(sorted()?.args(index, SortedPair::Index)?);
                    continue;
                }
                _ => continue,
            };
            expect(view, what, element, len)?;
            args.push(one(number, view));
        }
        Ok(args)
    }
}

impl<'a> SortedTensors<'a> {
    pub(super) fn args(&self, index: &IndexShape, pair: SortedPair) -> Result<[Arg<'a>; 2]> {
        let elements = u64::from(index.elements);
        expect(self.sorted, "sorted columns of an index", Element::F16, elements)?;
        expect(self.order, "order of an index", Element::U32, index.order_words())?;
        let [sorted, order] = pair.bindings();
        Ok([one(sorted, self.sorted), one(order, self.order)])
    }
}

/// Rows of a cache and their map, once they are what a spec says.
pub(super) fn args_of_source<'a>(
    source: &IndexSource,
    rows: &Rows<'a>,
    map: &'a DeviceRowMap,
) -> Result<Vec<Arg<'a>>> {
    let IndexSource { shape, tensor_rows, .. } = source;
    let count = u64::from(*tensor_rows);
    let words = count * shape.row_words() as u64;
    expect(rows.keys, "keys", Element::U32, words)?;
    expect(rows.values, "values", Element::U32, words)?;
    let mut args = vec![
        one(KEYS, rows.keys),
        one(VALUES, rows.values),
        one(ROW_MAP, map.of_shape(&source.map)?),
    ];
    let scaled = shape.element().scaled();
    if rows.params.is_some() != scaled {
        let words = |given| if given { "given" } else { "none" };
        let found = words(rows.params.is_some());
        return Err(Error::shape("parameters of keys and values", words(scaled), found));
    }
    if let Some([keys, values]) = rows.params {
        for (binding, view) in [(KEY_PARAMS, keys), (VALUE_PARAMS, values)] {
            expect(view, "parameters of rows", Element::U32, count)?;
            args.push(one(binding, view));
        }
    }
    Ok(args)
}
