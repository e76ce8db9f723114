//! What sums over rows are, from the definition.

use crate::attention::KvCache;
use crate::attention::sparse::IndexMap;
use crate::{Error, Result};

/// Sums, `[H][3][D]`, and the sums of the magnitudes of what they are of.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    /// Of keys, of their squares and of values.
    pub sums: Vec<f64>,
    /// As many.
    pub magnitudes: Vec<f64>,
}

/// The sums over rows `0 .. rows` of every head, from those `before` over rows `0 .. from`.
///
/// # Errors
/// [`Error::Shape`] for other than `[H][3][D]` sums, and as [`KvCache::head`].
pub fn reference(cache: &KvCache, map: &IndexMap, before: &[f32]) -> Result<Sums> {
    let dim = cache.shape().head_dim();
    if before.len() as u64 != map.shape().sums_len() {
        return Err(Error::shape("sums of an index", map.shape().sums_len(), before.len()));
    }
    let mut found = Sums { sums: Vec::new(), magnitudes: Vec::new() };
    for (head, (place, before)) in map.heads().iter().zip(before.chunks(3 * dim)).enumerate() {
        let data = cache.head(head)?;
        let mut add = |before: &[f32], numbers: &[f32], power: i32| {
            for (column, before) in before.iter().enumerate() {
                // Of no rows it means nothing.
                let before = if place.from > 0 { f64::from(*before) } else { 0.0 };
                let (mut sum, mut magnitude) = (before, before.abs());
                let rows = numbers.chunks(dim).take(place.rows as usize).skip(place.from as usize);
                for number in rows.filter_map(|row| row.get(column)) {
                    sum += f64::from(*number).powi(power);
                    magnitude += f64::from(*number).powi(power).abs();
                }
                found.sums.push(sum);
                found.magnitudes.push(magnitude);
            }
        };
        let of = |at: usize| before.get(at * dim..(at + 1) * dim).unwrap_or_default();
        add(of(0), &data.keys, 1);
        add(of(1), &data.keys, 2);
        add(of(2), &data.values, 1);
    }
    Ok(found)
}
