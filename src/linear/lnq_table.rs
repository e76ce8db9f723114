//! `lnq_table`: the best table for the labels at hand, sorted, with labels and offsets to match.
//!
//! For every row of a layer, with `G` the sums that [`super::lnq_gram`] makes and `r[q]` the sum of
//! `-pull[i]` over the inputs of label `q`, the table becomes `c + (G + lambda I)^-1 r`, which
//! minimises the row's objective for its labels. Entries without weights, or only with weights of
//! inactive inputs, stay as they are. Then entries are sorted, labels go along, and
//! `off = c[label] - w`. The layout is that of [`LnqLayout`].
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 4 words, see `shaders/linear/lnq_table.wgsl` |
//! | 2 | off | `[rows, stride]`, f32, written |
//! | 3 | pull | `[rows, stride]`, f32, 0 in the padding |
//! | 4 | labels | `[rows, stride / 4]` words, renumbered |
//! | 5 | tables | `[rows, levels]`, f32, in any order; ascending afterwards |
//! | 6 | weights | `[rows, stride]`, f32 |
//! | 8 | gram | `[rows, levels, levels]`, f32, of which `(G + G^T) / 2` counts |
//! | 9 | unsolved | `[rows]`, u32: 1 where a row kept its table because nothing solves its system |
//!
//! The system is solved by Cholesky in f32, with two rounds of refinement. `lambda` is 1e-7 of `G`'s
//! mean diagonal, ten times as much each time that a pivot is below 2e-6 of its diagonal, up to all
//! of it. Whatever `lambda` is, the step makes no row worse but by rounding.
//!
//! One workgroup takes a row; one lane solves, which is little beside what `lnq_gram` does. One
//! variant, `baseline`: no feature, default limits. Knobs: `workgroup`. Source: "GuidedQuant", arXiv
//! 2505.07004; the kernel is our own.

use super::bitplane::{Shape, count, largest};
use super::lnq::solve_damped;
use super::lnq_descent::Rows;
use super::lnq_layout::{self, LnqLayout};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "lnq_table";
/// Number of the offsets' binding.
pub const OFF: u32 = lnq_layout::OFF;
/// Number of the products' binding.
pub const PULL: u32 = lnq_layout::PULL;
/// Number of the labels' binding.
pub const LABELS: u32 = lnq_layout::LABELS;
/// Number of the tables' binding.
pub const TABLES: u32 = lnq_layout::TABLES;
/// Number of the weights' binding.
pub const WEIGHTS: u32 = lnq_layout::WEIGHTS;
/// Number of the binding of the sums over pairs of labels.
pub const GRAM: u32 = lnq_layout::GRAM;
/// Number of the binding of the marks of unsolved rows.
pub const UNSOLVED: u32 = lnq_layout::UNSOLVED;

static BINDINGS: [Binding; 8] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(OFF, "off", Access::ReadWrite),
    Binding::new(PULL, "pull", Access::Read),
    Binding::new(LABELS, "labels", Access::ReadWrite),
    Binding::new(TABLES, "tables", Access::ReadWrite),
    Binding::new(WEIGHTS, "weights", Access::Read),
    Binding::new(GRAM, "gram", Access::Read),
    Binding::new(UNSOLVED, "unsolved", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    quads: u32,
    cols: u32,
    unused: u32,
}

/// New tables for some rows, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LnqTable {
    /// The rows of the layer and the width of their labels.
    pub layout: LnqLayout,
}

impl Spec for LnqTable {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let layout = &self.layout;
        layout.check(NAME)?;
        let workgroup = Shape { workgroup: 64, rows: 1 }.or(NAME, caps, knobs, &[1])?.workgroup;
        let levels = layout.levels() as u32;
        if workgroup < levels {
            let what = format!("workgroup of {NAME} with {levels} entries");
            return Err(Error::range(what, format!("at least {levels}"), workgroup));
        }
        let pairs = layout.levels() * layout.levels();
        let operands = vec![
            layout.inputs("off", OFF, caps)?,
            layout.inputs("pull", PULL, caps)?,
            layout.whole("labels", LABELS, layout.stride() / 4, caps)?,
            layout.whole("tables", TABLES, layout.levels(), caps)?,
            layout.inputs("weights", WEIGHTS, caps)?,
            layout.whole("gram", GRAM, pairs, caps)?,
            layout.whole("unsolved", UNSOLVED, 1, caps)?,
        ];
        let params = Params {
            rows: count("rows", layout.rows)?,
            quads: layout.quads()?,
            cols: count("columns", layout.cols)?,
            unused: 0,
        };
        let needs = Needs {
            workgroup_bytes: 4 * (levels * workgroup + 2 * levels * levels + 7 * levels),
            invocations: workgroup,
            storage_buffers: 7,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let (rows, stride) = (layout.rows as u64, layout.stride() as u64);
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: layout.preamble(),
                parts: vec![part!("linear/lnq_table.wgsl")],
                constants: vec![("WORKGROUP", workgroup.into())],
            },
            bindings: &BINDINGS,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, rows, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                read_bytes: rows * (9 * stride + 4 * (pairs as u64 + u64::from(levels))),
                write_bytes: rows * (5 * stride + 4 * u64::from(levels) + 4),
                flops: 2 * rows * layout.cols as u64,
            },
        }])
    }
}

/// What a launch makes of `rows`, in f64, and of every row whether no table was found. `gram` is
/// `[rows, levels, levels]`. A pivot is too small here below 1e-6 of its diagonal.
///
/// # Errors
/// [`Error::Shape`] for tensors of other lengths.
pub fn reference(spec: &LnqTable, gram: &[f32], rows: &Rows) -> Result<(Rows, Vec<bool>)> {
    let layout = &spec.layout;
    rows.check(NAME, layout)?;
    let (stride, levels) = (layout.stride(), layout.levels());
    if gram.len() != layout.rows * levels * levels {
        let expected = layout.rows * levels * levels;
        return Err(Error::shape("length of gram", expected, gram.len()));
    }
    let mut done = rows.clone();
    let mut unsolved = vec![false; layout.rows];
    for (row, gram) in gram.chunks_exact(levels * levels).enumerate() {
        let inputs = row * stride..row * stride + layout.cols;
        let g = |p: usize, q: usize| {
            (f64::from(gram[p * levels + q]) + f64::from(gram[q * levels + p])) / 2.0
        };
        let mut residual = vec![0.0; levels];
        for at in inputs.clone() {
            residual[usize::from(rows.labels[at])] -= f64::from(rows.pull[at]);
        }
        let used: Vec<usize> = (0..levels).filter(|&q| g(q, q) > 0.0).collect();
        let table = &rows.tables[row * levels..(row + 1) * levels];
        let mut found: Vec<f64> = table.iter().map(|&entry| entry.into()).collect();
        if !used.is_empty() {
            let system: Vec<f64> =
                used.iter().flat_map(|&p| used.iter().map(move |&q| g(p, q))).collect();
            let right: Vec<f64> = used.iter().map(|&q| residual[q]).collect();
            match solve_damped(&system, &right, |_| true) {
                Some(change) => {
                    used.iter().zip(change).for_each(|(&q, change)| found[q] += change);
                }
                None => unsolved[row] = true,
            }
        }
        let mut order: Vec<usize> = (0..levels).collect();
        order.sort_by(|&a, &b| found[a].total_cmp(&found[b]));
        for (place, &q) in order.iter().enumerate() {
            done.tables[row * levels + place] = found[q] as f32;
        }
        done.off[row * stride..(row + 1) * stride].fill(0.0);
        for at in inputs {
            let label = usize::from(rows.labels[at]);
            let place = order.iter().position(|&q| q == label).unwrap_or(label);
            done.labels[at] = place as u8;
            done.off[at] = (found[label] - f64::from(rows.weights[at])) as f32;
        }
    }
    Ok((done, unsolved))
}
