//! `greedy_hits`: adds what a greedy search takes of each column to its rows.
//!
//! For every query row, over the runs that [`greedy_runs`](super::greedy_runs) wrote, each element's
//! product on the [grid](super::sparse::greedy::Grid) is added to the hits of its row, which that kernel
//! has set to 0. Rows above 0 are the candidates. Sums are of integers, so that their order does not
//! matter.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 4 words, see `shaders/attention/greedy_hits.wgsl` |
//! | 1 | q | `[T, H G, D]`, f32, or f16 in pairs |
//! | 10 | index_map | `[H][8]`, u32: [`IndexMap`](super::sparse::IndexMap) |
//! | 12 | sorted | f16 in pairs |
//! | 13 | order | u16 in pairs, or u32: [`IndexShape::narrow`](super::sparse::IndexShape::narrow) |
//! | 16 | runs | `[T H G][D][4]`, u32 |
//! | 17 | found | `[T H G][4]`, u32 |
//! | 18 | hits | `[T H G][most]`, i32 |
//!
//! A query row has as many workgroups of 256 lanes as the index has room for
//! [some thousands](GreedyHits::slices) of rows. All elements of its runs are shared out evenly among them,
//! however long single runs are, in vectors of eight.
//!
//! Source: "A^3: Accelerating Attention Mechanisms in Neural Networks with Approximation", Ham et al.,
//! HPCA 2020, arXiv 2002.10941.
//!
//! One variant, `baseline`: no feature, default limits. Knobs: `slices`, workgroups of a query row.

use super::decode::Q;
use super::greedy_runs::GreedyRuns;
use super::places::largest;
use super::sparse::{FOUND, HITS, INDEX_MAP, ORDER, RUNS, SORTED};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "greedy_hits";

const LANES: u32 = 256;
/// Rows that the index has room for, for each workgroup of a query row.
const SLICE_ROWS: u32 = 4096;
/// Most workgroups of a query row.
const SLICES: u32 = 64;

static BINDINGS: [Binding; 8] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(Q, "q", Access::Read),
    Binding::new(INDEX_MAP, "index_map", Access::Read),
    Binding::new(SORTED, "sorted", Access::Read),
    Binding::new(ORDER, "order", Access::Read),
    Binding::new(RUNS, "runs", Access::Read),
    Binding::new(FOUND, "found", Access::Read),
    Binding::new(HITS, "hits", Access::ReadWrite),
];

/// Hits of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GreedyHits {
    /// The search.
    pub search: GreedyRuns,
}

impl GreedyHits {
    /// Workgroups of a query row, unless `knobs` say how many.
    ///
    /// # Errors
    /// [`Error::Range`] for none or more than 64.
    pub fn slices(&self, knobs: &Knobs) -> Result<u32> {
        let default = self.search.index.most.div_ceil(SLICE_ROWS).clamp(1, SLICES / 4);
        let slices = knobs.slices.unwrap_or(default);
        if !(1..=SLICES).contains(&slices) {
            let what = format!("workgroups of a query row of {NAME}");
            return Err(Error::range(what, format!("1..={SLICES}"), slices));
        }
        Ok(slices)
    }
}

impl Spec for GreedyHits {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// [`Error::Range`] for sizes that cannot be, [`Error::BindingTooLarge`] naming the tensor.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let search = &self.search;
        search.check()?;
        let slices = self.slices(knobs)?;
        let operands = search.operands(NAME, ORDER, caps)?;
        let (dim, index) = (search.index.dim, &search.index);
        let each = (2 * dim).div_ceil(LANES);
        let needs = Needs {
            // Four words a run, and running sums.
            workgroup_bytes: 4 * (4 * LANES * each + 256 + 16),
            invocations: LANES,
            storage_buffers: BINDINGS.len() as u32 - 1,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let row_bytes = if index.narrow() { 2 } else { 4 };
        let taken = 2 * search.estimate() * search.query_rows();
        let queries = search.q_len() * search.input.bytes() as u64;
        let traffic = Traffic {
            // Hits are read to be added to.
            read_bytes: queries + 4 * search.runs_len() + (2 + row_bytes + 4) * taken,
            write_bytes: 4 * taken,
            flops: 0,
        };
        let rows = match index.narrow() {
            true => part!("attention/greedy/rows_narrow.wgsl"),
            false => part!("attention/greedy/rows_wide.wgsl"),
        };
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: format!(
                    "const DIM: u32 = {dim}u;\nconst EACH: u32 = {each}u;\n\
                     const SLICES: u32 = {slices}u;\n"
                ),
                parts: vec![
                    part!("attention/sparse/index_map.wgsl"),
                    search.query_part(),
                    part!("attention/greedy/grid.wgsl"),
                    rows,
                    part!("lib/scan_workgroup.wgsl"),
                    part!("attention/greedy_hits.wgsl"),
                ],
                constants: Vec::new(),
            },
            bindings: &BINDINGS,
            operands,
            params: bytemuck::bytes_of(&search.params(index.most)).to_vec(),
            grid: linear_grid(NAME, search.query_rows() * u64::from(slices), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic,
        }])
    }

    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        let slices = |slices| Knobs { slices: Some(slices), ..Knobs::DEFAULT };
        vec![Knobs::DEFAULT, slices(1), slices(4), slices(16), slices(64)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::sparse::{IndexMap, greedy::Low};
    use crate::linear::Activation;

    #[test]
    fn query_rows_have_workgroups_by_room() {
        let spec = |rows| {
            let index = *IndexMap::new(64, &[rows, 100]).unwrap().shape();
            let (input, low) = (Activation::F16, Low::Cheap);
            let search = GreedyRuns { index, tokens: 1, group: 4, input, low, budget: 500 };
            GreedyHits { search }
        };
        let grid = |rows, knobs| spec(rows).launches(&Caps::webgpu(), &knobs).unwrap()[0].grid();
        assert_eq!(grid(1000, Knobs::DEFAULT), [8, 1, 1]);
        assert_eq!(grid(5000, Knobs::DEFAULT), [16, 1, 1]);
        assert_eq!(grid(1000, Knobs { slices: Some(3), ..Knobs::DEFAULT }), [24, 1, 1]);
        let error = spec(1000).slices(&Knobs { slices: Some(65), ..Knobs::DEFAULT }).unwrap_err();
        assert!(error.to_string().contains("1..=64"), "{error}");
        let error = spec(1 << 21).launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err();
        assert!(error.to_string().contains("of greedy_hits"), "{error}");
    }
}
