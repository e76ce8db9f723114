//! The any-precision quantizer: one set of codes whose leading bits serve every width.
//!
//! Each row is clustered into `2^seed_bits` runs of its sorted values (the seed, as in SqueezeLLM,
//! arXiv 2306.07629), then every run is split in two, once per further bit (Any-Precision LLM,
//! arXiv 2402.10517). A code is the path through those splits, newest bit last, so the code at `b`
//! bits is the code at `parent_bits` shifted right by the difference. Costs of runs come from
//! prefix sums (flash1dkmeans, arXiv 2412.15295).

mod argmin;
mod lloyd;
mod prefix;
mod row;
mod seed;
mod sort;
mod split;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};

use self::row::{RowOut, Worker};
use super::{BitplaneLayer, BitplaneShape, TableElement, Tables, Weights};
use crate::{Error, Result};

/// How clusters are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Method {
    /// The least possible weighted squared error at `seed_bits`, by dynamic programming, and the
    /// best single split of every run at each further bit.
    #[default]
    Exact,
    /// A local optimum by Lloyd's steps at `seed_bits`, and the paper's midpoint rule for splits.
    /// Deterministic too; some percent more error for a fraction of the time.
    Fast,
}

/// Settings of [`quantize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct QuantizeOptions {
    /// Smallest width that can be asked for later: 2 to `parent_bits`; 3 by default. The error at
    /// this width is the least (with [`Method::Exact`]); wider models build on its clusters.
    pub seed_bits: u8,
    /// Width of the stored codes, at most 8; 8 by default.
    pub parent_bits: u8,
    /// How clusters are found.
    pub method: Method,
    /// What table entries are rounded to.
    pub table: TableElement,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        Self {
            seed_bits: 3,
            parent_bits: 8,
            method: Method::default(),
            table: TableElement::default(),
        }
    }
}

impl QuantizeOptions {
    fn check(&self) -> Result<()> {
        if !(2..=8).contains(&self.parent_bits) {
            return Err(Error::range("parent_bits", "2..=8", self.parent_bits));
        }
        if !(2..=self.parent_bits).contains(&self.seed_bits) {
            let limit = format!("2..={} (parent_bits)", self.parent_bits);
            return Err(Error::range("seed_bits", limit, self.seed_bits));
        }
        Ok(())
    }
}

/// A layer's codes and tables, not yet packed into bit-planes.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// Outputs of the layer.
    pub rows: usize,
    /// Inputs of the layer.
    pub cols: usize,
    /// Smallest width.
    pub seed_bits: u8,
    /// Width of `codes`.
    pub parent_bits: u8,
    /// What the tables' entries are rounded to.
    pub table: TableElement,
    /// `[rows, cols]`, row-major: codes of `parent_bits` bits. The code at `b` bits is
    /// `code >> (parent_bits - b)`.
    pub codes: Vec<u8>,
    /// `(b, [rows, 2^b])` for every width, ascending: what each code stands for, already rounded
    /// to `table`. Within a row the entries never decrease.
    pub tables: Vec<(u8, Vec<f32>)>,
    /// What the quantizer came across.
    pub report: Report,
}

/// What the quantizer came across in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Report {
    /// Rows whose sensitivities were all zero (or non-zero only where the weight is zero), and
    /// which were quantized as if all were 1.
    pub unweighted_rows: usize,
    /// Codes of `parent_bits` bits that no weight has, over all rows: entries that rows with few
    /// distinct values leave idle.
    pub idle_codes: usize,
}

/// How far a layer's values at some width are from its weights.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct WeightError {
    /// Sum over all weights of sensitivity * (weight - table value)^2.
    pub squared: f64,
    /// Square root of `squared` over the sum of sensitivity * weight^2; 0 for an error of 0, and
    /// infinite where only zeros have an error.
    pub relative: f64,
}

impl Quantized {
    /// The table of `bits` bits, `[rows, 2^bits]`, where there is one.
    #[must_use]
    pub fn table(&self, bits: u8) -> Option<&[f32]> {
        self.tables.iter().find(|(b, _)| *b == bits).map(|(_, table)| table.as_slice())
    }

    /// Packs codes and tables into bit-planes, with an optional bias of `rows` elements.
    ///
    /// # Errors
    /// As [`BitplaneLayer::from_codes`].
    pub fn pack(&self, bias: Option<Vec<f32>>) -> Result<BitplaneLayer> {
        let mut tables = Tables::new(self.table, self.rows);
        for (bits, values) in &self.tables {
            tables.insert(*bits, values)?;
        }
        let Self { rows, cols, seed_bits, parent_bits, .. } = *self;
        let shape = BitplaneShape { rows, cols, seed_bits, parent_bits };
        BitplaneLayer::from_codes(shape, &self.codes, tables, bias)
    }

    /// The error at `bits` bits against `weights`, with the tables as rounded and the
    /// sensitivities as given (1 where absent), summed in `f64`.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Range`] when there is no table of `bits` bits, and around
    /// [`Error::Shape`] when `weights` is not `[rows, cols]`.
    pub fn error(&self, weights: &Weights<'_>, bits: u8) -> Result<WeightError> {
        let table = self.checked_table(weights, bits).map_err(|e| e.in_layer(weights.name()))?;
        let width = 1 << bits;
        let shift = self.parent_bits - bits;
        let row_sums = |row: usize| {
            let span = row * self.cols..(row + 1) * self.cols;
            let table = &table[row * width..(row + 1) * width];
            let sensitivities = weights.sensitivities().map(|s| &s[span.clone()]);
            let values = weights.values()[span.clone()].iter().zip(&self.codes[span]);
            values.enumerate().fold([0.0; 2], |[error, norm], (col, (&w, &code))| {
                let s = sensitivities.map_or(1.0, |s| f64::from(s[col]));
                let w = f64::from(w);
                let off = w - f64::from(table[usize::from(code >> shift)]);
                [error + s * off * off, norm + s * w * w]
            })
        };
        #[cfg(feature = "rayon")]
        let sums: Vec<_> = {
            use rayon::prelude::*;
            (0..self.rows).into_par_iter().map(row_sums).collect()
        };
        #[cfg(not(feature = "rayon"))]
        let sums: Vec<_> = (0..self.rows).map(row_sums).collect();
        // Row by row, so that the sum does not depend on the number of threads.
        let [squared, norm] = sums.iter().fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d]);
        let relative = if squared == 0.0 { 0.0 } else { (squared / norm).sqrt() };
        Ok(WeightError { squared, relative })
    }

    fn checked_table(&self, weights: &Weights<'_>, bits: u8) -> Result<&[f32]> {
        let (rows, cols) = (weights.rows(), weights.cols());
        if (rows, cols) != (self.rows, self.cols) {
            let expected = format!("{} x {}", self.rows, self.cols);
            return Err(Error::shape("weights", expected, format!("{rows} x {cols}")));
        }
        self.table(bits).ok_or_else(|| {
            Error::range("bits", format!("{}..={}", self.seed_bits, self.parent_bits), bits)
        })
    }
}

/// Quantizes a layer to every width from `seed_bits` to `parent_bits` at once.
///
/// Rows stand alone. The result depends on nothing but the arguments: not on the number of
/// threads, nor on the machine. With sensitivities, a weight of exactly 0 counts as having none
/// (arXiv 2402.10517 keeps zeros apart), and a row left without any is quantized without.
///
/// Takes `rows * cols` bytes for the codes and `4 * rows * 2^(parent_bits + 1)` for the tables,
/// besides some `120 + 4 * 2^seed_bits` bytes per column for each thread. With [`Method::Exact`]
/// the time of the seed grows with `2^seed_bits`.
///
/// # Errors
/// [`Error::Layer`], naming the layer, around [`Error::Range`] when a width is outside
/// `2 <= seed_bits <= parent_bits <= 8`, and around [`Error::Value`] at the first table entry that
/// would be infinite as `f16` (magnitude from 65520; [`TableElement::F32`] holds it).
pub fn quantize(weights: &Weights<'_>, options: &QuantizeOptions) -> Result<Quantized> {
    quantize_with_progress(weights, options, &|_| {})
}

/// [`quantize`], telling how many rows are done after each one.
///
/// `progress` is called once for every row, from any thread; each count from 1 to `rows` occurs
/// once, not always in order.
///
/// # Errors
/// As [`quantize`].
pub fn quantize_with_progress(
    weights: &Weights<'_>,
    options: &QuantizeOptions,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Quantized> {
    let run = || options.check().and_then(|()| layer(weights, options, progress));
    run().map_err(|e| e.in_layer(weights.name()))
}

/// Clusters at one width, 1 to 8 bits, tables in `f32`: where other quantizers start.
pub(crate) fn seed(weights: &Weights<'_>, bits: u8, method: Method) -> Result<Quantized> {
    let table = TableElement::F32;
    let options = QuantizeOptions { seed_bits: bits, parent_bits: bits, method, table };
    layer(weights, &options, &|_| {})
}

/// Codes that no weight has, over all rows.
pub(crate) fn idle_codes(codes: &[u8], cols: usize, bits: u8) -> usize {
    let idle = |row: &[u8]| {
        let mut used = [false; 256];
        row.iter().for_each(|&code| used[usize::from(code)] = true);
        used[..1 << bits].iter().filter(|used| !**used).count()
    };
    codes.chunks_exact(cols).map(idle).sum()
}

fn layer(
    weights: &Weights<'_>,
    options: &QuantizeOptions,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Quantized> {
    let (rows, cols) = (weights.rows(), weights.cols());
    if u32::try_from(cols).is_err() {
        return Err(Error::shape("columns", format!("at most {}", u32::MAX), cols));
    }
    let mut codes = vec![0; rows * cols];
    let mut tables: Vec<_> =
        (options.seed_bits..=options.parent_bits).map(|b| (b, vec![0.0; rows << b])).collect();
    let out = RowOut::all(cols, &mut codes, &mut tables);
    let done = AtomicUsize::new(0);
    let one = |worker: &mut Worker, (row, out): (usize, RowOut<'_>)| {
        let span = row * cols..(row + 1) * cols;
        let sensitivities = weights.sensitivities().map(|s| &s[span.clone()]);
        let report = worker.run(row, &weights.values()[span], sensitivities, options, out);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        report
    };
    #[cfg(feature = "rayon")]
    let reports: Vec<_> = {
        use rayon::prelude::*;
        out.into_par_iter().enumerate().map_init(Worker::default, one).collect()
    };
    #[cfg(not(feature = "rayon"))]
    let reports: Vec<_> = {
        let mut worker = Worker::default();
        out.into_iter().enumerate().map(|row| one(&mut worker, row)).collect()
    };
    // In order of rows: of several errors the first row's is told, whichever came first in time.
    let mut report = Report::default();
    for row in reports {
        let row = row?;
        report.unweighted_rows += row.unweighted_rows;
        report.idle_codes += row.idle_codes;
    }
    Ok(Quantized {
        rows,
        cols,
        seed_bits: options.seed_bits,
        parent_bits: options.parent_bits,
        table: options.table,
        codes,
        tables,
        report,
    })
}
