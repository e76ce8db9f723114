//! Joining layers by rows, so that one product does the work of several.

use super::planes::words_for;
use super::tables::list_widths;
use super::{BitplaneLayer, BitplaneShape, Tables};
use crate::{Error, Result};
use std::ops::Range;

/// Several layers with the same inputs as one, and where each of them went.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    /// All rows, in the order of the parts.
    pub layer: BitplaneLayer,
    /// Rows of [`Fused::layer`], and so elements of its product `y`, of every part, in order.
    pub parts: Vec<Range<usize>>,
}

impl BitplaneLayer {
    /// Joins layers with the same inputs into one, the rows of each after those of the one before:
    /// query, key and value projections, or gate and up projections.
    ///
    /// One product of the joined layer reads the activations once and is one launch, where its
    /// parts would be several. Nothing is quantized again: rows stand alone, their planes and
    /// tables are copied, and what a kernel writes for a row is the same, bit for bit, whether the
    /// row is multiplied in its part or here (the same variant and knobs provided: fewer rows may
    /// make another variant the better choice).
    ///
    /// Parts may differ in
    /// - widths: the joined layer has what all parts have, the smallest `parent_bits`, the largest
    ///   `seed_bits` and the tables of the widths common to all. Planes beyond the smallest parent
    ///   are dropped, which changes no narrower width, as those are a prefix;
    /// - table elements: one part with f32 tables makes all tables f32, exactly, at twice the bytes;
    /// - bias: where some have one, the others get 0.0, which is what kernels add for no bias.
    ///
    /// The parts of `y` are [`Fused::parts`]. A view of one part can be bound by itself where its
    /// offset in bytes is a multiple of the device's storage alignment, 256 at most: any number of
    /// rows that is a multiple of 64 with f32, 128 with f16 outputs. Otherwise bind the whole of
    /// `y` and pass the first element as a number, or copy the part. Files do not hold the ranges;
    /// the parts' numbers of rows, in order, are all there is to know.
    ///
    /// ```
    /// use fewbytes::linear::{BitplaneLayer, QuantizeOptions, Weights, quantize};
    ///
    /// # fn main() -> fewbytes::Result<()> {
    /// let projection = |name, rows: usize| {
    ///     let values: Vec<f32> = (0..rows * 64).map(|i| (i as f32).sin()).collect();
    ///     quantize(&Weights::new(name, rows, 64, &values, None)?, &QuantizeOptions::default())?
    ///         .pack(None)
    /// };
    /// // Grouped queries: fewer rows for keys and values.
    /// let (q, k, v) = (projection("q", 128)?, projection("k", 64)?, projection("v", 64)?);
    ///
    /// let qkv = BitplaneLayer::concat_rows(&[&q, &k, &v])?;
    /// assert_eq!(qkv.parts, [0..128, 128..192, 192..256]);
    /// let dense = qkv.layer.dequantize(4)?;
    /// assert_eq!(dense[128 * 64..192 * 64], k.dequantize(4)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for an empty list, for parts that differ in `cols`, and when all rows
    /// together cannot be addressed, [`Error::Unsupported`] when no width is common to all parts.
    pub fn concat_rows(parts: &[&Self]) -> Result<Fused> {
        let shapes: Vec<BitplaneShape> = parts.iter().map(|part| part.shape()).collect();
        let (shape, ranges) = join(&shapes)?;
        let common = |bits: &u8| parts.iter().all(|part| part.tables().bytes(*bits).is_some());
        let widths: Vec<u8> = (2..=8).filter(common).collect();
        if widths.is_empty() {
            let has = |(at, part): (usize, &&Self)| {
                format!("part {at} has {}", list_widths(part.tables().widths()))
            };
            return Err(Error::unsupported(
                "a width common to all parts",
                parts.iter().enumerate().map(has).collect::<Vec<_>>().join("; "),
            ));
        }
        shape.check_widths(&widths)?;
        let plane = shape.rows * words_for(shape.cols);
        let mut planes = Vec::with_capacity(plane * usize::from(shape.parent_bits));
        for plane in 0..shape.parent_bits {
            for part in parts {
                let words = part.rows() * part.words();
                let start = usize::from(plane) * words;
                planes.extend_from_slice(&part.planes()[start..start + words]);
            }
        }
        let tables: Vec<&Tables> = parts.iter().map(|part| part.tables()).collect();
        let tables = Tables::concat_rows(shape.rows, &widths, &tables)?;
        let bias = parts.iter().any(|part| part.bias().is_some()).then(|| {
            let of = |part: &&Self| part.bias().map_or(vec![0.0; part.rows()], <[f32]>::to_vec);
            parts.iter().flat_map(of).collect()
        });
        let layer = Self::from_planes(shape, planes, tables, bias)?;
        Ok(Fused { layer, parts: ranges })
    }
}

/// The joined shape and the rows of every part.
fn join(shapes: &[BitplaneShape]) -> Result<(BitplaneShape, Vec<Range<usize>>)> {
    let Some(&first) = shapes.first() else {
        return Err(Error::shape("parts to join", "at least one", "none"));
    };
    let mut joined = BitplaneShape { rows: 0, ..first };
    let mut ranges = Vec::with_capacity(shapes.len());
    for (at, shape) in shapes.iter().enumerate() {
        if shape.cols != first.cols {
            let expected = format!("{}, as in part 0", first.cols);
            return Err(Error::shape(format!("columns of part {at}"), expected, shape.cols));
        }
        let Some(end) = joined.rows.checked_add(shape.rows) else {
            let found = format!("{} + {} with part {at}", joined.rows, shape.rows);
            return Err(Error::shape("rows of all parts", "a number within usize", found));
        };
        ranges.push(joined.rows..end);
        joined.rows = end;
        joined.seed_bits = joined.seed_bits.max(shape.seed_bits);
        joined.parent_bits = joined.parent_bits.min(shape.parent_bits);
    }
    Ok((joined, ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(rows: usize) -> BitplaneShape {
        BitplaneShape { rows, cols: 64, seed_bits: 3, parent_bits: 8 }
    }

    #[test]
    fn rows_that_cannot_be_counted_or_addressed_are_refused() {
        // No such layer can be made, so what is checked is the arithmetic.
        let error = join(&[shape(usize::MAX - 1), shape(1), shape(1)]).unwrap_err();
        let text = format!(
            "rows of all parts: expected a number within usize, found {} + 1 with part 2",
            usize::MAX
        );
        assert_eq!(error.to_string(), text);
        let (joined, _) = join(&[shape(usize::MAX / 128), shape(usize::MAX / 128)]).unwrap();
        let error = joined.check_widths(&[3]).unwrap_err();
        assert!(error.to_string().contains("planes and tables within usize"), "{error}");
    }

    #[test]
    fn the_joined_widths_are_those_of_all_parts() {
        let other = BitplaneShape { seed_bits: 4, parent_bits: 6, ..shape(5) };
        let (joined, ranges) = join(&[shape(2), other]).unwrap();
        let expected = BitplaneShape { rows: 7, cols: 64, seed_bits: 4, parent_bits: 6 };
        assert_eq!((joined, ranges), (expected, vec![0..2, 2..7]));
    }
}
