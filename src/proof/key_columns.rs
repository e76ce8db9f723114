//! The case table of `key_columns`.

use super::append_kv::Placed;
use super::bitplane::Squeeze;
use super::growing::{Content, Growing, held};
use super::{Case, Expected, Output, POISON, Proof};
use crate::Result;
use crate::attention::key_columns::{NAME, reference};
use crate::attention::sparse::{COLUMNS, FLAGS};
use crate::attention::{HEAD_DIMS, KeyColumns, KvElement};
use crate::launch::{Caps, Knobs, Spec as _};
use half::f16;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnsCase {
    growing: Growing,
    squeeze: Squeeze,
}

pub(super) fn cases() -> Vec<ColumnsCase> {
    let default = Growing::DEFAULT;
    let mut all = Vec::new();
    let places = [Placed::Paged(16), Placed::Plain, Placed::Ragged];
    for (at, element) in KvElement::ALL.into_iter().enumerate() {
        let (dim, placed) = (HEAD_DIMS[at], places[at % 3]);
        all.push(Growing { element, dim, placed, ..default });
    }
    let (from, rows): (&[u32], &[u32]) = (&[64, 0, 63], &[191, 0, 300]);
    all.push(Growing { from, rows, ..default });
    let int4 = Growing { element: KvElement::Int4, dim: 80, placed: Placed::Paged(32), ..default };
    all.push(Growing { from, rows, at_once: Some(64), ..int4 });
    for element in [KvElement::F32, KvElement::F16] {
        all.push(Growing { element, content: Content::Edges, ..default });
    }
    for (head, element, x) in [
        (0, KvElement::F32, f32::NAN),
        (1, KvElement::F16, f32::NEG_INFINITY),
        (2, KvElement::Bf16, 65_536.0),
        (2, KvElement::Int8, 1e6),
    ] {
        all.push(Growing { element, content: Content::Beyond(head, x), ..default });
    }
    let mut all: Vec<_> =
        all.into_iter().map(|growing| ColumnsCase { growing, squeeze: Squeeze::None }).collect();
    // A grid of two dimensions with spare workgroups, which take turns.
    let growing = Growing { rows: &[1000, 30, 511], at_once: Some(300), ..default };
    all.push(ColumnsCase { growing, squeeze: Squeeze::Groups(4) });
    all
}

impl Case for ColumnsCase {
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
        let (map, cache) = (growing.map()?, growing.cache(&mut growing.rng())?);
        let spec = KeyColumns(growing.source(cache.layout(), &map)?);
        let poison = f16::from_ne_bytes([POISON; 2]);
        let mut columns = vec![poison; map.shape().elements as usize];
        // Flags that are set stay; one that is to be set is not.
        let mut flags = vec![0u32; map.heads().len()];
        let flagged = match growing.content {
            Content::Beyond(head, _) => {
                let other = (head + 1) % flags.len();
                flags[other] = 1;
                true
            }
            _ => false,
        };
        let mut before = map.clone();
        before.clear();
        before.extend(growing.from)?;
        reference(&cache, &before, &mut columns, &mut flags.clone())?;
        let mut tensors = growing.tensors(&cache, &map, false)?;
        let bytes = |columns: &[f16]| bytemuck::cast_slice(columns).to_vec();
        tensors.push(held(COLUMNS, bytes(&columns)));
        tensors.push(held(FLAGS, bytemuck::cast_slice(&flags).to_vec()));
        reference(&cache, &map, &mut columns, &mut flags)?;
        let output = |binding, bytes| Output { binding, expected: Expected::Bytes(bytes) };
        let mut outputs = vec![output(COLUMNS, bytes(&columns))];
        if flagged {
            outputs.push(output(FLAGS, bytemuck::cast_slice(&flags).to_vec()));
        }
        let launches = spec.launches(&self.squeeze.apply(caps), knobs)?;
        Ok(Proof { launches, tensors, outputs })
    }
}
