//! One row from weights to codes and tables.

use super::argmin::Inverses;
use super::lloyd::Lloyd;
use super::prefix::Row;
use super::seed::Seeder;
use super::split::Runs;
use super::{Method, QuantizeOptions, Report};
use crate::linear::tables::BEYOND_F16;
use crate::{Error, Result};

/// Where one row's results go.
pub(super) struct RowOut<'a> {
    codes: &'a mut [u8],
    tables: Vec<(u8, &'a mut [f32])>,
}

impl<'a> RowOut<'a> {
    /// Cuts a layer's codes and tables into rows.
    pub(super) fn all(
        cols: usize,
        codes: &'a mut [u8],
        tables: &'a mut [(u8, Vec<f32>)],
    ) -> Vec<Self> {
        let widths = tables.len();
        let mut rows: Vec<_> = codes
            .chunks_exact_mut(cols)
            .map(|codes| Self { codes, tables: Vec::with_capacity(widths) })
            .collect();
        for (bits, table) in tables {
            for (row, entries) in rows.iter_mut().zip(table.chunks_exact_mut(1 << *bits)) {
                row.tables.push((*bits, entries));
            }
        }
        rows
    }
}

/// The memory that one thread reuses from row to row.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) row: Row,
    pub(super) inverses: Inverses,
    seeder: Seeder,
    lloyd: Lloyd,
    runs: Runs,
    next: Runs,
}

impl Worker {
    /// Quantizes row number `at`.
    pub(super) fn run(
        &mut self,
        at: usize,
        values: &[f32],
        sensitivities: Option<&[f32]>,
        options: &QuantizeOptions,
        out: RowOut<'_>,
    ) -> Result<Report> {
        let unweighted = self.row.load(values, sensitivities);
        self.inverses.fit(values.len());
        self.seed(options.method, 1 << options.seed_bits);
        for (bits, entries) in out.tables {
            if bits > options.seed_bits {
                self.next.split(&self.row, &self.inverses, options.method, &self.runs);
                std::mem::swap(&mut self.runs, &mut self.next);
            }
            for (col, (entry, &centroid)) in
                entries.iter_mut().zip(&self.runs.centroids).enumerate()
            {
                *entry = options.table.round(centroid);
                if entry.is_infinite() {
                    return Err(Error::Value {
                        what: format!("entry of the {bits}-bit table"),
                        row: at,
                        col,
                        value: centroid,
                        rule: BEYOND_F16,
                    });
                }
            }
        }
        let mut idle_codes = 0;
        for (code, run) in self.runs.borders.windows(2).enumerate() {
            let columns = self.row.columns(run[0] as usize, run[1] as usize);
            idle_codes += usize::from(columns.is_empty());
            for &col in columns {
                out.codes[col as usize] = code as u8;
            }
        }
        Ok(Report { unweighted_rows: usize::from(unweighted), idle_codes })
    }

    /// Finds the first `k` runs of the loaded row.
    pub(super) fn seed(&mut self, method: Method, k: usize) -> &Runs {
        self.runs.borders.resize(k + 1, 0);
        match method {
            Method::Exact => self.seeder.exact(&self.row, &self.inverses, &mut self.runs.borders),
            Method::Fast => self.lloyd.seed(&self.row, &self.inverses, &mut self.runs.borders),
        }
        self.runs.seeded(&self.row);
        &self.runs
    }
}
