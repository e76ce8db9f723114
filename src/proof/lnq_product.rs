//! The case table of `lnq_product`.

use super::bitplane::{Squeeze, uniform};
use super::lnq::{Shape, bytes, hessian_tensor, random, shapes};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::lnq_product::{HESSIAN, NAME, OFF, PULL, reference};
use crate::linear::{Activation, LnqProduct};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProductCase {
    shape: Shape,
    knobs: Knobs,
}

pub(super) fn cases() -> Vec<ProductCase> {
    let plain = |shape| ProductCase { shape, knobs: Knobs::DEFAULT };
    let mut all: Vec<_> = shapes().into_iter().map(plain).collect();
    for (rows, workgroup) in [(32, 64), (64, 256), (128, 256)] {
        let knobs = Knobs { rows: Some(rows), workgroup: Some(workgroup), ..Knobs::DEFAULT };
        all.push(ProductCase { shape: Shape { panel: 192, ..Shape::new(70, 300, 2) }, knobs });
    }
    all.push(plain(Shape { squeeze: Squeeze::Groups(8), ..Shape::new(300, 200, 2) }));
    all
}

impl Case for ProductCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Knobs { rows, workgroup, .. } = self.knobs;
        let tile = rows.zip(workgroup).map(|(r, w)| format!(" tile {r} over {w}"));
        self.shape.name() + &tile.unwrap_or_default()
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let Knobs { rows, workgroup, .. } = self.knobs;
        vec![("baseline", Knobs { rows, workgroup, ..Knobs::baseline() })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let (caps, pieces) = self.shape.device(caps)?;
        let layout = self.shape.layout();
        let stride = layout.stride();
        let mut rng = random(NAME, &self.shape);
        let mut h = vec![0.0; stride * stride];
        for (i, row) in h.chunks_exact_mut(stride).enumerate().take(layout.cols) {
            // Columns of very different size.
            let scale = f32::powi(4.0, (i % 7) as i32 - 3);
            row[..layout.cols].iter_mut().for_each(|h| *h = scale * uniform(&mut rng));
        }
        let off: Vec<f32> = (0..layout.rows * layout.cols).map(|_| uniform(&mut rng)).collect();
        let off = layout.padded(&off);
        let (mut values, mut tolerance) =
            (vec![0.0; layout.rows * stride], vec![0.0; layout.rows * stride]);
        // One rounding a term, of a whole unit: WGSL does not say to nearest.
        let unit = f64::from(f32::EPSILON) * (stride + 1) as f64;
        let mut launches = Vec::new();
        for panel in self.shape.panels(&pieces) {
            let spec = LnqProduct { layout, panel };
            launches.extend(spec.launches(&caps, knobs)?);
            let h = &h[panel.first * stride..][..panel.width * stride];
            let products = reference(&spec, h, &off)?;
            let found = products.pull.iter().zip(&products.condition);
            for (at, (&product, condition)) in found.enumerate() {
                let at = at / panel.width * stride + panel.first + at % panel.width;
                values[at] = product;
                tolerance[at] = unit * condition;
            }
        }
        let tensors = vec![
            hessian_tensor(HESSIAN, &h, &pieces),
            Tensor::input(OFF, bytes(&off)),
            Tensor::output(PULL, 4 * layout.rows * stride),
        ];
        let element = Activation::F32;
        let expected = Expected::Close { element, values, tolerance, relative: 1e-5 };
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: PULL, expected }] })
    }
}
