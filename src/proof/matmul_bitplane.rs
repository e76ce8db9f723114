//! The case table of `matmul_bitplane`: every route, at batches on both sides of each crossover.

use super::bitplane::{Random, Squeeze, Values, stored, weight_tensors};
use super::products::{Input, Judge, gamma};
use super::{Case, Output, Proof, Tensor};
use crate::launch::{Caps, Knobs, Reduce, Route, Spec as _};
use crate::linear::gemm_bitplane::{BIAS, X, Y, reference};
use crate::linear::gemv_bitplane::MAX_BATCH;
use crate::linear::matmul_bitplane::NAME;
use crate::linear::{Activation, BitplaneLayout, GemmBitplane, MatmulBitplane, TableElement};
use crate::{Error, Result};

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatmulCase {
    batch: usize,
    rows: usize,
    cols: usize,
    bits: u8,
    activation: Activation,
    table: TableElement,
    squeeze: Squeeze,
    route: Option<Route>,
    slices: Option<u32>,
}

const DEFAULT: MatmulCase = MatmulCase {
    batch: 9,
    rows: 37,
    cols: 67,
    bits: 4,
    activation: Activation::F32,
    table: TableElement::F16,
    squeeze: Squeeze::None,
    route: None,
    slices: None,
};

pub(super) fn cases() -> Vec<MatmulCase> {
    use Activation::{F16, F32};
    let mut all = Vec::new();
    // The default, and every other way.
    let ways = [
        (1, F16, 96, &[None, Some(Route::Gemm), Some(Route::Dense)][..]),
        (8, F32, 67, &[None, Some(Route::Dense)]),
        (9, F32, 67, &[None, Some(Route::Dense)]),
        (65, F16, 67, &[None, Some(Route::Dense)]),
        (300, F32, 67, &[None, Some(Route::Gemm)]),
    ];
    for (batch, activation, cols, routes) in ways {
        let with = |&route| MatmulCase { batch, activation, cols, route, ..DEFAULT };
        all.extend(routes.iter().map(with));
    }
    // Dense weights of f32; of several launches each way, with rows of whole words and not.
    let route = Some(Route::Dense);
    all.push(MatmulCase { route, table: TableElement::F32, bits: 3, ..DEFAULT });
    for (activation, cols) in [(F32, 71), (F16, 152)] {
        let squeeze = Squeeze::Binding(50_000);
        all.push(MatmulCase { route, rows: 411, cols, activation, squeeze, ..DEFAULT });
    }
    // Parts: of eight vectors, with a rest of several and of one, sliced, of several launches; and
    // of as many as a binding takes.
    let even = MatmulCase { rows: 128, cols: 128, ..DEFAULT };
    for (batch, activation, slices) in [(20, F16, None), (17, F32, None), (30, F32, Some(3))] {
        let route = Some(Route::Gemv);
        all.push(MatmulCase { batch, activation, route, slices, ..even });
    }
    for (route, slices) in
        [(Route::Gemv, None), (Route::Gemm, None), (Route::Gemm, Some(2)), (Route::Dense, None)]
    {
        let (squeeze, route) = (Squeeze::Binding(50_000), Some(route));
        let rows = if slices.is_some() { 128 } else { 640 };
        all.push(MatmulCase { batch: 130, rows, squeeze, route, slices, ..even });
    }
    // Slices are left aside where there are none.
    for route in [Route::Gemv, Route::Gemm, Route::Dense] {
        all.push(MatmulCase { batch: 5, route: Some(route), slices: Some(2), ..DEFAULT });
    }
    all
}

impl Case for MatmulCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { batch, rows, cols, bits, .. } = self;
        let mut name = format!("m{batch} {rows}x{cols} b{bits} {}", self.activation.name());
        if self.table == TableElement::F32 {
            name += " table-f32";
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name += &self.route.map(|route| format!(" {route:?}")).unwrap_or_default();
        name + &self.slices.map(|slices| format!(" {slices} slices")).unwrap_or_default()
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let Self { route, slices, .. } = *self;
        let knobs = |matrix| Knobs {
            reduce: Some(Reduce::Workgroup),
            matrix: Some(matrix),
            route,
            slices,
            ..Knobs::DEFAULT
        };
        let mut all = vec![("baseline", knobs(false))];
        let halves = self.activation == Activation::F16 && self.table == TableElement::F16;
        if halves && self.batch > MAX_BATCH && caps.has_matrices() {
            all.push(("matrix", knobs(true)));
        }
        all
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let caps = self.squeeze.apply(caps);
        let seed = self.name();
        let Self { batch, rows, cols, bits, activation, table, .. } = *self;
        let values = Values::Ordinary;
        let random = Random { rows, cols, parent_bits: 6, table, bias: true, values };
        let layer = random.layer_at(bits, &seed)?;
        let layout = BitplaneLayout::new(&layer, 6, &caps)?;
        let spec =
            MatmulBitplane { activation, ..MatmulBitplane::new(layout.clone(), bits, batch) };
        let launches = spec.launches(&caps, knobs)?;
        if matches!(self.squeeze, Squeeze::Binding(_)) && launches.len() < 4 {
            return Err(Error::shape(
                "launches of a squeezed product",
                "two a route",
                launches.len(),
            ));
        }
        let vectors = 0..batch;
        let x: Vec<f32> = vectors
            .flat_map(|vector| Input::Random.vector(cols, activation, &seed, vector))
            .collect();
        let same = GemmBitplane { activation, ..GemmBitplane::new(layout, bits, batch) };
        let product = reference(&same, &layer, &x)?;
        let mut tensors = weight_tensors(&layer, &spec.layout, bits)?.to_vec();
        if let Some(bias) = layer.bias() {
            tensors.push(Tensor::input(BIAS, bytemuck::cast_slice(bias).to_vec()));
        }
        let mut x_bytes = stored(&x, activation);
        x_bytes.resize(x_bytes.len().next_multiple_of(4) + 64, super::POISON);
        tensors.push(Tensor::input(X, x_bytes));
        tensors.push(Tensor::output(Y, spec.y_len() * activation.bytes()));
        // The longest chain of any route: a rounding a column, padding included, slices, bias.
        let gamma = gamma(1 + cols.next_multiple_of(32) + self.slices.unwrap_or(1) as usize + 1);
        let judge = Judge { input: Input::Random, activation, bias: true };
        let expected = judge.expected(product.y, product.condition, |condition| gamma * condition);
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: Y, expected }] })
    }
}
