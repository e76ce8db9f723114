//! The case table of `lnq_objective`.

use super::bitplane::uniform;
use super::lnq::{Shape, bytes, random, shapes};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::lnq_objective::{NAME, OBJECTIVES, OFF, PULL, reference};
use crate::linear::{Activation, LnqObjective};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct ObjectiveCase {
    shape: Shape,
    workgroup: Option<u32>,
}

pub(super) fn cases() -> Vec<ObjectiveCase> {
    let plain = |shape| ObjectiveCase { shape, workgroup: None };
    let mut all: Vec<_> = shapes().into_iter().map(plain).collect();
    all.push(plain(Shape::new(3, 5000, 2)));
    // More workgroups than one dimension holds.
    all.push(ObjectiveCase { workgroup: Some(8), ..plain(Shape::new(65_600, 3, 1)) });
    all
}

impl Case for ObjectiveCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        self.shape.name()
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs { workgroup: self.workgroup, ..Knobs::baseline() })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let (layout, caps) = (self.shape.layout(), self.shape.squeeze.apply(caps));
        let spec = LnqObjective { layout };
        let mut rng = random(NAME, &self.shape);
        let mut inputs = || -> Vec<f32> {
            let values = (0..layout.rows * layout.cols).map(|_| uniform(&mut rng));
            layout.padded(&values.collect::<Vec<_>>())
        };
        let (off, pull) = (inputs(), inputs());
        let objectives = reference(&spec, &off, &pull)?;
        // One rounding a term and a sum, of a whole unit: WGSL does not say to nearest.
        let unit = f64::from(f32::EPSILON) * (layout.stride() + 1) as f64;
        let expected = Expected::Close {
            element: Activation::F32,
            values: objectives.iter().map(|(sum, _)| *sum).collect(),
            tolerance: objectives.iter().map(|(_, condition)| unit * condition).collect(),
            relative: 1e-4,
        };
        let tensors = vec![
            Tensor::input(OFF, bytes(&off)),
            Tensor::input(PULL, bytes(&pull)),
            Tensor::output(OBJECTIVES, 4 * layout.rows),
        ];
        let outputs = vec![Output { binding: OBJECTIVES, expected }];
        Ok(Proof { launches: spec.launches(&caps, knobs)?, tensors, outputs })
    }
}
