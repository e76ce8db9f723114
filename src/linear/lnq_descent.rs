//! `lnq_descent`: one cycle of coordinate descent over a panel of inputs.
//!
//! For every row of a layer, each input `i` of the panel in order gets the table entry nearest to
//! `q[i] - pull[i] / H[i, i]`, `q[i]` being its entry so far and `pull[i]` the sum over all `j` of
//! `off[j] H[j, i]` with the inputs before it as they are by then: of all entries the one that makes
//! the row's objective least, the other inputs held. At a tie an input keeps what it has, and of
//! several better entries at one distance it gets the first. The layout is that of
//! [`LnqLayout`].
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 4 words, see `shaders/linear/lnq_descent.wgsl` |
//! | 1 | hessian | a piece's rows `[.., stride]`, f32, of which the panel's are bound |
//! | 2 | off | `[rows, stride]`, f32: kept up to date for the panel's inputs |
//! | 3 | pull | `[rows, stride]`, f32: of the panel's inputs the products as they are before the launch |
//! | 4 | labels | `[rows, stride / 4]` words |
//! | 5 | tables | `[rows, levels]`, f32 |
//! | 6 | weights | `[rows, stride]`, f32 |
//! | 7 | inverse | `[stride]`, f32: `1 / H[i, i]`, 0 for inputs to leave out, padding among them |
//! | 11 | changes | `[rows, width]`, f32: what each input's value changed by |
//!
//! A whole cycle is this for one panel after the other, with [`super::lnq_product`] adding what a panel
//! changed to all products: the exact result of visiting one input at a time, with all but
//! `width / (2 cols)` of the work in the product. A lane
//! takes a row. The panel's inputs come in blocks of 32: the lane adds what the panel's earlier
//! blocks changed to the block's products, from 32 x 32 numbers of `H` in workgroup memory, and
//! visits the inputs with the table there, too.
//!
//! One variant, `baseline`: no feature, default limits. Knobs: `workgroup`, 32 by default. Source:
//! "GuidedQuant", arXiv 2505.07004; the kernel is our own.

use super::bitplane::{Shape, count, largest, whole};
use super::lnq_layout::{self, LnqLayout, Panel};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "lnq_descent";
/// Number of the Hessian's binding.
pub const HESSIAN: u32 = lnq_layout::HESSIAN;
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
/// Number of the binding of the diagonal's reciprocals.
pub const INVERSE: u32 = lnq_layout::INVERSE;
/// Number of the binding of the changes.
pub const CHANGES: u32 = lnq_layout::CHANGES;

/// Inputs of a block.
const BLOCK: u32 = 32;

static BINDINGS: [Binding; 9] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(HESSIAN, "hessian", Access::Read),
    Binding::new(OFF, "off", Access::ReadWrite),
    Binding::new(PULL, "pull", Access::Read),
    Binding::new(LABELS, "labels", Access::ReadWrite),
    Binding::new(TABLES, "tables", Access::Read),
    Binding::new(WEIGHTS, "weights", Access::Read),
    Binding::new(INVERSE, "inverse", Access::Read),
    Binding::new(CHANGES, "changes", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    quads: u32,
    first: u32,
    width: u32,
}

/// One panel's visits, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LnqDescent {
    /// The rows of the layer and the width of their labels.
    pub layout: LnqLayout,
    /// The inputs that are visited.
    pub panel: Panel,
}

impl Spec for LnqDescent {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let Self { layout, panel } = self;
        layout.check(NAME)?;
        panel.check(NAME, layout)?;
        let workgroup = Shape { workgroup: 32, rows: 1 }.or(NAME, caps, knobs, &[1])?.workgroup;
        let levels = layout.levels();
        let inverse = whole("inverse", layout.stride(), 4, caps)?;
        let operands = vec![
            panel.operand(layout, caps)?,
            layout.inputs("off", OFF, caps)?,
            layout.inputs("pull", PULL, caps)?,
            layout.whole("labels", LABELS, layout.stride() / 4, caps)?,
            layout.whole("tables", TABLES, levels, caps)?,
            layout.inputs("weights", WEIGHTS, caps)?,
            Operand { binding: INVERSE, piece: 0, offset: 0, bytes: inverse },
            layout.whole("changes", CHANGES, panel.width, caps)?,
        ];
        let params = Params {
            rows: count("rows", layout.rows)?,
            quads: layout.quads()?,
            first: count("inputs", panel.first)?,
            width: count("inputs", panel.width)?,
        };
        let needs = Needs {
            workgroup_bytes: 4 * (BLOCK * BLOCK + (BLOCK + levels as u32) * workgroup),
            invocations: workgroup,
            storage_buffers: 8,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let (rows, width) = (layout.rows as u64, panel.width as u64);
        let groups = rows.div_ceil(workgroup.into());
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: layout.preamble(),
                parts: vec![part!("lib/products.wgsl"), part!("linear/lnq_descent.wgsl")],
                constants: vec![("WORKGROUP", workgroup.into())],
            },
            bindings: &BINDINGS,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, groups, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                // Of H the panel's own triangle; labels, products, tables.
                read_bytes: 2 * width * width + rows * (5 * width + 4 * levels as u64),
                write_bytes: rows * 5 * width,
                flops: rows * width * width,
            },
        }])
    }

    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        let with = |lanes| Knobs { workgroup: Some(lanes), ..Knobs::DEFAULT };
        std::iter::once(Knobs::DEFAULT).chain([16, 64, 128].map(with)).collect()
    }
}

/// The tensors of a layer's rows: `[rows, stride]`, tables `[rows, levels]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// One label an input.
    pub labels: Vec<u8>,
    /// Entries.
    pub tables: Vec<f32>,
    /// Original weights.
    pub weights: Vec<f32>,
    /// Quantized minus original weights.
    pub off: Vec<f32>,
    /// `off H`.
    pub pull: Vec<f32>,
}

impl Rows {
    pub(super) fn check(&self, kernel: &str, layout: &LnqLayout) -> Result<()> {
        layout.check(kernel)?;
        layout.check_labels(&self.labels)?;
        let inputs = layout.rows * layout.stride();
        for (what, expected, found) in [
            ("labels", inputs, self.labels.len()),
            ("tables", layout.rows * layout.levels(), self.tables.len()),
            ("weights", inputs, self.weights.len()),
            ("off", inputs, self.off.len()),
            ("pull", inputs, self.pull.len()),
        ] {
            if found != expected {
                return Err(Error::shape(format!("length of {what}"), expected, found));
            }
        }
        Ok(())
    }
}

/// What a launch makes of `rows`, and the changes `[rows, width]`, by plain loops in f64. `hessian`
/// has the panel's rows only, `[width, stride]`.
///
/// # Errors
/// As [`Spec::launches`] for what is wrong with the spec; [`Error::Shape`] for tensors of other
/// lengths, [`Error::Range`] for a label past the table.
pub fn reference(
    spec: &LnqDescent,
    hessian: &[f32],
    inverse: &[f32],
    rows: &Rows,
) -> Result<(Rows, Vec<f32>)> {
    let (layout, panel) = (&spec.layout, &spec.panel);
    rows.check(NAME, layout)?;
    panel.check(NAME, layout)?;
    let (stride, levels) = (layout.stride(), layout.levels());
    for (what, expected, found) in
        [("hessian", panel.width * stride, hessian.len()), ("inverse", stride, inverse.len())]
    {
        if found != expected {
            return Err(Error::shape(format!("length of {what}"), expected, found));
        }
    }
    let mut done = rows.clone();
    let mut all = Vec::with_capacity(layout.rows * panel.width);
    for row in 0..layout.rows {
        let table = &rows.tables[row * levels..(row + 1) * levels];
        let mut changes = vec![0.0; panel.width];
        for i in 0..panel.width {
            let col = panel.first + i;
            let at = row * stride + col;
            let earlier = (0..i).map(|j| changes[j] * f64::from(hessian[j * stride + col]));
            let pull = f64::from(rows.pull[at]) + earlier.sum::<f64>();
            let label = usize::from(rows.labels[at]);
            let value = f64::from(table[label]);
            let aim = value - pull * f64::from(inverse[col]);
            let distance = |q: usize| (f64::from(table[q]) - aim).abs();
            let better =
                |best: usize, q: usize| if distance(q) < distance(best) { q } else { best };
            let best = (0..levels).fold(label, better);
            if inverse[col] != 0.0 && best != label {
                changes[i] = f64::from(table[best]) - value;
                done.labels[at] = best as u8;
                done.off[at] = table[best] - rows.weights[at];
            }
        }
        all.extend(changes.into_iter().map(|change: f64| change as f32));
    }
    Ok((done, all))
}
