//! `lnq_gram`: for each row of a layer, sums of the Hessian over all pairs of labels.
//!
//! `G[r, p, q] = sum of H[i, j] over all i of label p and j of label q`: the matrix of the linear
//! system that gives the best table. What is written is not symmetric: only `(G + G^T) / 2` counts,
//! because `H` is taken from its upper triangle, and what lies above the 32 x 32 blocks on the
//! diagonal counts twice instead. The layout is that of [`LnqLayout`].
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 8 words, see `shaders/linear/lnq_gram.wgsl` |
//! | 1 | hessian | a piece's rows `[height, stride]`, f32 |
//! | 4 | labels | `[rows, stride / 4]` words |
//! | 8 | gram | `[rows, levels, levels]`, f32 |
//!
//! Eight lanes take a row of the layer and 32 columns of `H` at a time. Each number of `H`'s upper
//! triangle is added once for every row of the layer, to a sum in workgroup memory: `rows cols^2 / 2`
//! additions, each with a reading and a writing there, which is what bounds the speed. A workgroup's
//! rows share what they load of `H`.
//!
//! A Hessian of several pieces takes a launch for each: the second and later ones add to what is
//! there. Likewise a launch may take only some of the rows.
//!
//! One variant, `baseline`: no feature, default limits. Knobs: `workgroup`, 8 lanes a row; the
//! default is what 24 KiB of workgroup memory hold, or the device's less, up to 128 lanes.

use super::bitplane::{count, largest};
use super::lnq_layout::{self, HessianPiece, LnqLayout};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};
use std::ops::Range;

/// The kernel's name.
pub const NAME: &str = "lnq_gram";
/// Number of the Hessian's binding.
pub const HESSIAN: u32 = lnq_layout::HESSIAN;
/// Number of the labels' binding.
pub const LABELS: u32 = lnq_layout::LABELS;
/// Number of the binding of the sums.
pub const GRAM: u32 = lnq_layout::GRAM;

/// Lanes of one row.
const LANES: u32 = 8;
/// Columns that are summed at a time.
const COLUMNS: usize = 32;

static BINDINGS: [Binding; 4] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(HESSIAN, "hessian", Access::Read),
    Binding::new(LABELS, "labels", Access::Read),
    Binding::new(GRAM, "gram", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    rows: u32,
    quads: u32,
    first: u32,
    height: u32,
    from: u32,
    to: u32,
    continued: u32,
    unused: u32,
}

/// The sums of some rows, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LnqGram {
    /// The rows of the layer and the width of their labels.
    pub layout: LnqLayout,
    /// Rows of the Hessian. Those from 0 on begin the sums, others are added.
    pub piece: HessianPiece,
    /// Rows of the layer to do.
    pub rows: Range<usize>,
}

impl LnqGram {
    fn check(&self) -> Result<()> {
        self.layout.check(NAME)?;
        self.piece.check(NAME, &self.layout)?;
        if self.rows.is_empty() || self.rows.end > self.layout.rows {
            let expected = format!("some within 0..{}", self.layout.rows);
            let found = format!("{:?}", self.rows);
            return Err(Error::shape(format!("rows of {NAME}"), expected, found));
        }
        Ok(())
    }

    /// Bytes of workgroup memory that one row takes.
    fn row_bytes(&self) -> u32 {
        let levels = self.layout.levels() as u32;
        4 * levels * (COLUMNS as u32 + levels)
    }

    /// Numbers of the Hessian that are added for each row of the layer; what of a piece lies beside
    /// the layer does not count.
    pub fn additions(&self) -> u64 {
        // Columns from each row's block on.
        let across = self.layout.stride().saturating_sub(self.piece.first) as u64;
        let height = across.min(self.piece.len as u64);
        let whole = height.saturating_mul(across);
        let below = height.saturating_mul(height.saturating_sub(COLUMNS as u64)) / 2;
        whole.saturating_sub(below)
    }

    fn workgroup(&self, caps: &Caps, knobs: &Knobs) -> Result<u32> {
        let most = caps.max_invocations.min(1024);
        if let Some(lanes) = knobs.workgroup {
            if !lanes.is_power_of_two() || lanes < LANES || lanes > most {
                let limit = format!("the powers of two in {LANES}..={most}");
                return Err(Error::range(format!("workgroup of {NAME}"), limit, lanes));
            }
            return Ok(lanes);
        }
        let fitting = caps.max_workgroup_bytes.min(24 << 10) / self.row_bytes();
        let rows = (fitting.max(1) + 1).next_power_of_two() / 2;
        Ok((LANES * rows).min(128).min(most.max(LANES)))
    }
}

impl Spec for LnqGram {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.check()?;
        let Self { layout, piece, rows } = self;
        let workgroup = self.workgroup(caps, knobs)?;
        let (levels, stride) = (layout.levels(), layout.stride());
        let operands = vec![
            piece.operand(&piece.rows(), layout, caps)?,
            layout.whole("labels", LABELS, stride / 4, caps)?,
            layout.whole("gram", GRAM, levels * levels, caps)?,
        ];
        let params = Params {
            rows: count("rows", layout.rows)?,
            quads: layout.quads()?,
            first: count("inputs", piece.first)?,
            height: count("inputs", piece.len)?,
            from: count("rows", rows.start)?,
            to: count("rows", rows.end)?,
            continued: u32::from(piece.first > 0),
            unused: 0,
        };
        let each = workgroup / LANES;
        let needs = Needs {
            workgroup_bytes: each * self.row_bytes(),
            invocations: workgroup,
            storage_buffers: 3,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let n = rows.len() as u64;
        let sums = 4 * n * (levels * levels) as u64;
        Ok(vec![Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: format!("const ROWS: u32 = {each}u;\n{}", layout.preamble()),
                parts: vec![part!("linear/lnq_gram.wgsl")],
                constants: vec![("WORKGROUP", workgroup.into())],
            },
            bindings: &BINDINGS,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, n.div_ceil(each.into()), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                read_bytes: 4 * self.additions()
                    + n * stride as u64
                    + if piece.first > 0 { sums } else { 0 },
                write_bytes: sums,
                flops: n * self.additions(),
            },
        }])
    }

    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        let lanes = [16, 32, 64, 128, 256];
        let with = |lanes| Knobs { workgroup: Some(lanes), ..Knobs::DEFAULT };
        std::iter::once(Knobs::DEFAULT).chain(lanes.map(with)).collect()
    }
}

/// What a launch adds, by plain loops in f64, `[rows, levels, levels]` for the rows to do.
/// `hessian` has the piece's rows, `labels` are `[rows, stride]` of all rows.
///
/// # Errors
/// As [`Spec::launches`] for what is wrong with the spec; [`Error::Shape`] for other lengths,
/// [`Error::Range`] for a label past the table.
pub fn reference(spec: &LnqGram, hessian: &[f32], labels: &[u8]) -> Result<Vec<f64>> {
    spec.check()?;
    spec.layout.check_labels(labels)?;
    let (stride, levels) = (spec.layout.stride(), spec.layout.levels());
    for (what, rows, found) in
        [("hessian", spec.piece.len, hessian.len()), ("labels", spec.layout.rows, labels.len())]
    {
        if found != rows * stride {
            return Err(Error::shape(format!("length of {what}"), rows * stride, found));
        }
    }
    let mut all = Vec::with_capacity(spec.rows.len() * levels * levels);
    for row in spec.rows.clone() {
        let labels = &labels[row * stride..(row + 1) * stride];
        let mut sums = vec![0.0; levels * levels];
        for (i, hessian) in spec.piece.rows().zip(hessian.chunks_exact(stride)) {
            for (j, &h) in hessian.iter().enumerate() {
                let factor = match (i / COLUMNS).cmp(&(j / COLUMNS)) {
                    std::cmp::Ordering::Less => 2.0,
                    std::cmp::Ordering::Equal => 1.0,
                    std::cmp::Ordering::Greater => 0.0,
                };
                let pair = usize::from(labels[i]) * levels + usize::from(labels[j]);
                sums[pair] += factor * f64::from(h);
            }
        }
        all.extend(sums);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_add_every_number_on_and_above_the_diagonal_blocks_once() {
        let layout = LnqLayout { rows: 1, cols: 300, bits: 2 };
        let blocks = layout.stride() as u64 / 32;
        let all = blocks * (blocks + 1) / 2 * 32 * 32;
        for rows in [320, 128, 64] {
            let caps = Caps { max_binding_bytes: rows * 320 * 4, ..Caps::webgpu() };
            let pieces = layout.pieces(&caps).unwrap().into_iter();
            let additions = pieces.map(|piece| LnqGram { layout, piece, rows: 0..1 }.additions());
            assert_eq!(additions.sum::<u64>(), all);
        }
    }

    #[test]
    fn what_lies_beside_the_layer_adds_nothing() {
        let layout = LnqLayout { rows: 1, cols: 100, bits: 2 };
        for (first, len) in [(192, 64), (usize::MAX, 64), (0, usize::MAX)] {
            let piece = HessianPiece { number: 0, first, len };
            let spec = LnqGram { layout, piece, rows: 0..1 };
            // Four blocks of 32 columns, and 10 of 32 x 32 numbers from the diagonal on.
            assert_eq!(spec.additions(), if first == 0 { 10 * 32 * 32 } else { 0 });
            assert!(reference(&spec, &[], &[]).is_err());
        }
    }

    #[test]
    fn bad_rows_and_pieces_are_named() {
        let layout = LnqLayout { rows: 4, cols: 100, bits: 2 };
        let piece = HessianPiece { number: 0, first: 0, len: 128 };
        let good = LnqGram { layout, piece, rows: 0..4 };
        let launches = |spec: &LnqGram| spec.launches(&Caps::webgpu(), &Knobs::DEFAULT);
        launches(&good).unwrap();
        for (bad, word) in [
            (LnqGram { rows: 2..5, ..good.clone() }, "rows of lnq_gram"),
            (LnqGram { rows: 2..2, ..good.clone() }, "rows of lnq_gram"),
            (LnqGram { piece: HessianPiece { len: 192, ..piece }, ..good.clone() }, "piece"),
            (LnqGram { layout: LnqLayout { bits: 5, ..layout }, ..good.clone() }, "bits"),
            (LnqGram { layout: LnqLayout { cols: 0, ..layout }, ..good.clone() }, "columns"),
        ] {
            let message = launches(&bad).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
        let lanes = Knobs { workgroup: Some(24), ..Knobs::DEFAULT };
        assert!(good.launches(&Caps::webgpu(), &lanes).is_err());
    }
}
