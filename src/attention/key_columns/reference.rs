//! What columns are, from the definition.

use crate::attention::KvCache;
use crate::attention::sparse::IndexMap;
use crate::{Error, Result};
use half::f16;

/// A number as an index has it: f16, 0 below 2^-14; none that is not a number but one.
pub fn index_number(x: f32) -> f16 {
    match f16::from_f32(x) {
        number if number.is_nan() => f16::from_bits(0x7e00),
        number if number.is_normal() || number.is_infinite() => number,
        _ => f16::ZERO,
    }
}

/// Puts rows `from .. rows` of every head into `columns [elements]`, a zero behind an odd number of rows,
/// and flags heads with keys that are not finite.
///
/// # Errors
/// [`Error::Shape`] for columns or flags that are not the index's, and as [`KvCache::head`].
pub fn reference(
    cache: &KvCache,
    map: &IndexMap,
    columns: &mut [f16],
    flags: &mut [u32],
) -> Result<()> {
    let (dim, found) = (cache.shape().head_dim(), columns.len() as u64);
    if found != u64::from(map.shape().elements) {
        return Err(Error::shape("columns of an index", map.shape().elements, found));
    }
    if flags.len() != map.heads().len() {
        return Err(Error::shape("flags of an index", map.heads().len(), flags.len()));
    }
    for (head, (place, flag)) in map.heads().iter().zip(flags).enumerate() {
        let keys = cache.head(head)?.keys;
        let at = |column: usize, row: u32| {
            place.first as usize + column * place.stride as usize + row as usize
        };
        for row in place.from..place.rows {
            let key = keys.iter().skip(row as usize * dim).take(dim);
            for (column, number) in key.map(|x| index_number(*x)).enumerate() {
                *flag |= u32::from(!number.is_finite());
                columns[at(column, row)] = number;
            }
        }
        if place.rows > place.from && !place.rows.is_multiple_of(2) {
            (0..dim).for_each(|column| columns[at(column, place.rows)] = f16::ZERO);
        }
    }
    Ok(())
}
