//! The case table of `lnq_gram`: whole numbers, so every sum is exact.

use super::bitplane::Squeeze;
use super::lnq::{Shape, bytes, hessian_tensor, random, shapes};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::LnqGram;
use crate::linear::lnq_gram::{GRAM, HESSIAN, LABELS, NAME, reference};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct GramCase {
    shape: Shape,
    /// Rows of the layer a launch.
    rows: usize,
    workgroup: Option<u32>,
}

pub(super) fn cases() -> Vec<GramCase> {
    let plain = |shape| GramCase { shape, rows: usize::MAX, workgroup: None };
    let mut all: Vec<_> = shapes().into_iter().map(plain).collect();
    // Rows in several launches, with and without pieces of the Hessian.
    all.push(GramCase { rows: 7, ..plain(Shape::new(30, 70, 3)) });
    let pieces = Shape { squeeze: Squeeze::Binding(70_000), ..Shape::new(30, 200, 2) };
    all.push(GramCase { rows: 16, ..plain(pieces) });
    all.push(GramCase { workgroup: Some(8), ..plain(Shape::new(5, 100, 4)) });
    all.push(GramCase { workgroup: Some(64), ..plain(Shape::new(21, 100, 2)) });
    let squeeze = Squeeze::Groups(5);
    all.push(plain(Shape { squeeze, ..Shape::new(260, 40, 2) }));
    all
}

impl Case for GramCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let mut name = self.shape.name();
        if self.rows < self.shape.rows {
            name += &format!(" {} rows a launch", self.rows);
        }
        name + &self.workgroup.map_or(String::new(), |lanes| format!(" {lanes} lanes"))
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs { workgroup: self.workgroup, ..Knobs::baseline() })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let (caps, pieces) = self.shape.device(caps)?;
        let layout = self.shape.layout();
        let (stride, pairs) = (layout.stride(), layout.levels() * layout.levels());
        let mut rng = random(NAME, &self.shape);
        let (mut h, _) = self.shape.hessian(&mut rng);
        let labels = self.shape.rows(&mut rng).labels;
        let mut sums = vec![0.0; layout.rows * pairs];
        let mut launches = Vec::new();
        for &piece in &pieces {
            for from in (0..layout.rows).step_by(self.rows.min(layout.rows)) {
                let rows = from..layout.rows.min(from.saturating_add(self.rows));
                let spec = LnqGram { layout, piece, rows };
                launches.extend(spec.launches(&caps, knobs)?);
                let h = &h[piece.first * stride..][..piece.len * stride];
                let added = reference(&spec, h, &labels)?;
                sums[from * pairs..].iter_mut().zip(added).for_each(|(sum, add)| *sum += add);
            }
        }
        // What is below the blocks on the diagonal must not be read.
        for (at, h) in h.iter_mut().enumerate() {
            if at / stride / 32 > at % stride / 32 {
                *h = f32::NAN;
            }
        }
        let sums: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
        let tensors = vec![
            hessian_tensor(HESSIAN, &h, &pieces),
            Tensor::input(LABELS, labels),
            Tensor::output(GRAM, 4 * sums.len()),
        ];
        let expected = Expected::Bytes(bytes(&sums));
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: GRAM, expected }] })
    }
}
