//! The case table of `row_sums`.

use super::append_kv::Placed;
use super::bitplane::{Squeeze, uniform};
use super::growing::{Content, Growing, held};
use super::products::gamma;
use super::{Case, Expected, Output, POISON, Proof};
use crate::Result;
use crate::attention::row_sums::{NAME, depth, reference};
use crate::attention::sparse::SUMS;
use crate::attention::{HEAD_DIMS, KvElement, RowSums};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::Activation;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct SumsCase {
    growing: Growing,
    squeeze: Squeeze,
}

pub(super) fn cases() -> Vec<SumsCase> {
    let default = Growing::DEFAULT;
    let mut all = Vec::new();
    let places = [Placed::Ragged, Placed::Paged(16), Placed::Plain];
    for (at, element) in KvElement::ALL.into_iter().enumerate() {
        let (dim, placed) = (HEAD_DIMS[(at + 2) % 5], places[at % 3]);
        all.push(Growing { element, dim, placed, ..default });
    }
    let (from, rows): (&[u32], &[u32]) = (&[64, 0, 63], &[191, 0, 300]);
    all.push(Growing { from, rows, ..default });
    let int8 = Growing { element: KvElement::Int8, placed: Placed::Paged(32), ..default };
    all.push(Growing { from, rows, at_once: Some(64), ..int8 });
    let f32 = Growing { element: KvElement::F32, ..default };
    all.push(Growing { content: Content::Offset, ..f32 });
    all.push(Growing { content: Content::Beyond(1, f32::NAN), ..f32 });
    all.push(Growing { content: Content::Beyond(2, f32::INFINITY), ..f32 });
    // Many rows in few blocks: several runs of a lane.
    let many = Growing { from: &[0], rows: &[20_000], at_once: Some(64), ..default };
    all.push(Growing { content: Content::Equal, ..many });
    let mut all: Vec<_> =
        all.into_iter().map(|growing| SumsCase { growing, squeeze: Squeeze::None }).collect();
    let growing = Growing { rows: &[1000, 30, 511], ..default };
    all.push(SumsCase { growing, squeeze: Squeeze::Groups(7) });
    all
}

impl Case for SumsCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let squeeze = match self.squeeze {
            Squeeze::None => String::new(),
            squeeze => format!(" {squeeze:?}"),
        };
        self.growing.name() + &squeeze
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs::baseline())]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let growing = &self.growing;
        let mut rng = growing.rng();
        let (map, cache) = (growing.map()?, growing.cache(&mut rng)?);
        let source = growing.source(cache.layout(), &map)?;
        // Of no rows there is nothing.
        let poison = f32::from_ne_bytes([POISON; 4]);
        let of_head = 3 * growing.dim;
        let mut before = Vec::new();
        for from in growing.from {
            let mut number = || if *from > 0 { 10.0 * uniform(&mut rng) } else { poison };
            before.extend((0..of_head).map(|_| number()));
        }
        let found = reference(&cache, &map, &before)?;
        let place = |at: usize| &map.heads()[at / of_head];
        let tolerance = found.magnitudes.iter().enumerate().map(|(at, magnitude)| {
            let new = place(at).rows - place(at).from;
            // Squares are rounded too.
            gamma(depth(&source, new) as usize + 1) * magnitude
        });
        let expected = Expected::Close {
            element: Activation::F32,
            tolerance: tolerance.collect(),
            values: found.sums,
            relative: 1e-5,
        };
        let mut tensors = growing.tensors(&cache, &map, true)?;
        tensors.push(held(SUMS, bytemuck::cast_slice(&before).to_vec()));
        let launches = RowSums(source).launches(&self.squeeze.apply(caps), knobs)?;
        Ok(Proof { launches, tensors, outputs: vec![Output { binding: SUMS, expected }] })
    }
}
