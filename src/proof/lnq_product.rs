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
    /// Whether the last panel's changes are added.
    changed: bool,
    knobs: Knobs,
}

pub(super) fn cases() -> Vec<ProductCase> {
    let plain = |shape| ProductCase { shape, changed: false, knobs: Knobs::DEFAULT };
    let mut all: Vec<_> = shapes().into_iter().map(plain).collect();
    for (rows, workgroup) in [(32, 64), (64, 256), (128, 256)] {
        let knobs = Knobs { rows: Some(rows), workgroup: Some(workgroup), ..Knobs::DEFAULT };
        let shape = Shape { panel: 192, ..Shape::new(70, 300, 2) };
        all.push(ProductCase { knobs, ..plain(shape) });
    }
    all.push(plain(Shape { squeeze: Squeeze::Groups(8), ..Shape::new(300, 200, 2) }));
    for panel in [64, 192, 512] {
        let shape = Shape { panel, ..Shape::new(67, 300, 2) };
        all.push(ProductCase { changed: true, ..plain(shape) });
    }
    let squeeze = Squeeze::Binding(200_000);
    let pieces = Shape { squeeze, ..Shape::new(21, 300, 4) };
    all.push(ProductCase { changed: true, ..plain(pieces) });
    all
}

impl Case for ProductCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Knobs { rows, workgroup, .. } = self.knobs;
        let tile = rows.zip(workgroup).map(|(r, w)| format!(" tile {r} over {w}"));
        let changed = if self.changed { " changes" } else { "" };
        self.shape.name() + changed + &tile.unwrap_or_default()
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
        let mut inputs = || -> Vec<f32> {
            let inputs = (0..layout.rows * layout.cols).map(|_| uniform(&mut rng));
            layout.padded(&inputs.collect::<Vec<_>>())
        };
        let (mut off, before) = (inputs(), inputs());
        let panels = self.shape.panels(&pieces);
        let changed = panels.last().copied().filter(|_| self.changed);
        let (mut values, mut tolerance) =
            (vec![0.0; layout.rows * stride], vec![0.0; layout.rows * stride]);
        if let Some(changed) = changed {
            let rows = off.chunks_exact(stride);
            off = rows.flat_map(|row| &row[changed.inputs()]).copied().collect();
            values = before.iter().map(|&v| f64::from(v)).collect();
        }
        // One rounding a term, of a whole unit: WGSL does not say to nearest.
        let unit = f64::from(f32::EPSILON) * (stride + 1) as f64;
        let mut launches = Vec::new();
        for panel in panels {
            let spec = LnqProduct { layout, panel, changed };
            launches.extend(spec.launches(&caps, knobs)?);
            let h = &h[panel.first * stride..][..panel.width * stride];
            let products = reference(&spec, h, &off)?;
            let found = products.pull.iter().zip(&products.condition);
            for (at, (&product, condition)) in found.enumerate() {
                let at = at / panel.width * stride + panel.first + at % panel.width;
                tolerance[at] = unit * (condition + f64::abs(values[at]));
                values[at] += product;
            }
        }
        let mut pull = Tensor::output(PULL, 4 * layout.rows * stride);
        if self.changed {
            pull.pieces[0][..4 * before.len()].copy_from_slice(&bytes(&before));
        }
        let tensors =
            vec![hessian_tensor(HESSIAN, &h, &pieces), Tensor::input(OFF, bytes(&off)), pull];
        let element = Activation::F32;
        let expected = Expected::Close { element, values, tolerance, relative: 1e-5 };
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: PULL, expected }] })
    }
}
