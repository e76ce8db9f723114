//! The case table of `lnq_descent`: numbers whose sums and products are exact in f32, so every label
//! has to come out as in the reference, and ties are many.

use super::bitplane::Squeeze;
use super::lnq::{Shape, bytes, hessian_tensor, random, shapes, updated};
use super::{Case, Proof, Tensor};
use crate::Result;
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::LnqDescent;
use crate::linear::lnq_descent::{
    CHANGES, HESSIAN, INVERSE, LABELS, NAME, OFF, PULL, TABLES, WEIGHTS, reference,
};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct DescentCase {
    shape: Shape,
    workgroup: Option<u32>,
}

pub(super) fn cases() -> Vec<DescentCase> {
    let plain = |shape| DescentCase { shape, workgroup: None };
    let mut all: Vec<_> = shapes().into_iter().map(plain).collect();
    for lanes in [8, 64] {
        all.push(DescentCase { workgroup: Some(lanes), ..plain(Shape::new(70, 100, 4)) });
    }
    let squeeze = Squeeze::Groups(3);
    all.push(plain(Shape { squeeze, ..Shape::new(260, 40, 2) }));
    all
}

impl Case for DescentCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let lanes = self.workgroup.map_or(String::new(), |lanes| format!(" {lanes} lanes"));
        self.shape.name() + &lanes
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs { workgroup: self.workgroup, ..Knobs::baseline() })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let (caps, pieces) = self.shape.device(caps)?;
        let layout = self.shape.layout();
        let stride = layout.stride();
        let mut rng = random(NAME, &self.shape);
        let (mut h, inverse) = self.shape.hessian(&mut rng);
        let before = self.shape.rows(&mut rng);
        // Panels do not hear of each other: their products are given.
        let mut after = before.clone();
        let mut launches = Vec::new();
        let panels = self.shape.panels(&pieces);
        // The first panel is the widest; later ones write over its changes.
        let mut changes = Vec::new();
        for &panel in &panels {
            let spec = LnqDescent { layout, panel };
            launches.extend(spec.launches(&caps, knobs)?);
            let h = &h[panel.first * stride..][..panel.width * stride];
            let (done, changed) = reference(&spec, h, &inverse, &after)?;
            after = done;
            changes.resize(changed.len().max(changes.len()), 0.0);
            changes[..changed.len()].copy_from_slice(&changed);
        }
        // What is beside the panels must not be read.
        for (at, h) in h.iter_mut().enumerate() {
            let panel_of = |col| panels.iter().position(|panel| panel.inputs().contains(&col));
            if panel_of(at / stride) != panel_of(at % stride) {
                *h = f32::NAN;
            }
        }
        let changed = [
            updated(OFF, bytes(&before.off), bytes(&after.off)),
            updated(CHANGES, vec![super::POISON; 4 * changes.len()], bytes(&changes)),
            updated(LABELS, before.labels, after.labels),
        ];
        let (mut tensors, outputs): (Vec<_>, Vec<_>) = changed.into_iter().unzip();
        tensors.extend([
            hessian_tensor(HESSIAN, &h, &pieces),
            Tensor::input(PULL, bytes(&before.pull)),
            Tensor::input(TABLES, bytes(&before.tables)),
            Tensor::input(WEIGHTS, bytes(&before.weights)),
            Tensor::input(INVERSE, bytes(&inverse)),
        ]);
        Ok(Proof { launches, tensors, outputs })
    }
}
