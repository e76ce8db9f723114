//! Indexes made and extended by all their kernels, one after the other.

use super::append_kv::Placed;
use super::bitplane::uniform;
use super::growing::{Content, Growing, held};
use super::products::gamma;
use super::sort_columns::Columns;
use super::{Case, Expected, Output, Proof};
use crate::Result;
use crate::attention::sparse::{BuildIndex, COLUMNS, FLAGS, IndexParts, SUMS, SortedPair};
use crate::attention::{KvElement, key_columns, merge_columns, row_sums, sort_columns};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::Activation;
use half::f16;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct BuildCase {
    growing: Growing,
    grows: bool,
}

pub(super) fn cases() -> Vec<BuildCase> {
    let int8 = Growing { element: KvElement::Int8, placed: Placed::Paged(16), ..Growing::DEFAULT };
    let f32 = Growing { element: KvElement::F32, content: Content::Edges, ..Growing::DEFAULT };
    let later = Growing { from: &[2048, 0], rows: &[4351, 2049], at_once: Some(2304), ..int8 };
    vec![
        BuildCase { growing: Growing::DEFAULT, grows: false },
        BuildCase { growing: Growing { from: &[0, 0], rows: &[2500, 3], ..int8 }, grows: false },
        BuildCase { growing: Growing { from: &[0], rows: &[4101], ..f32 }, grows: false },
        BuildCase { growing: later, grows: true },
        BuildCase { growing: Growing { from: &[64, 64], rows: &[64, 1023], ..f32 }, grows: true },
    ]
}

impl Case for BuildCase {
    fn kernel(&self) -> &'static str {
        merge_columns::NAME
    }

    fn name(&self) -> String {
        format!("index {} grows {}", self.growing.name(), self.grows)
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs::baseline())]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let growing = &self.growing;
        let mut rng = growing.rng();
        let (map, cache) = (growing.map()?, growing.cache(&mut rng)?);
        let source = growing.source(cache.layout(), &map)?;
        let spec = BuildIndex {
            source,
            parts: IndexParts { sums: true, sorted: true },
            grows: self.grows,
        };
        spec.check(&map)?;
        let mut before = map.clone();
        before.clear();
        before.extend(growing.from)?;

        let mut sorted = Columns::untouched(&map);
        let mut columns = sorted.sorted.clone();
        let mut flags = vec![0; map.heads().len()];
        key_columns::reference(&cache, &before, &mut columns, &mut flags)?;
        let all = |rows: u32| std::iter::once(0..rows).collect::<Vec<_>>();
        sort_columns::reference(&columns, &before, |place| all(place.rows), &mut sorted);
        let sums: Vec<f32> = (0..map.shape().sums_len()).map(|_| uniform(&mut rng)).collect();

        let bytes = |columns: &[f16]| bytemuck::cast_slice(columns).to_vec();
        let mut tensors = growing.tensors(&cache, &map, true)?;
        tensors.push(held(COLUMNS, bytes(&columns)));
        tensors.push(held(FLAGS, bytemuck::cast_slice(&flags).to_vec()));
        tensors.push(held(SUMS, bytemuck::cast_slice(&sums).to_vec()));
        let held_before = Columns::bytes(&map, sorted.clone(), false);

        key_columns::reference(&cache, &map, &mut columns, &mut flags)?;
        sort_columns::reference(&columns, &map, |place| all(place.rows), &mut sorted);
        let found = row_sums::reference(&cache, &map, &sums)?;
        let tolerance = found.magnitudes.iter().enumerate().map(|(at, magnitude)| {
            let place = &map.heads()[at / (3 * growing.dim)];
            let depth = row_sums::depth(&source, place.rows - place.from);
            // Squares are rounded too.
            gamma(depth as usize + 1) * magnitude
        });
        let expected = Expected::Close {
            element: Activation::F32,
            tolerance: tolerance.collect(),
            values: found.sums,
            relative: 1e-5,
        };
        let mut outputs = vec![
            Output { binding: COLUMNS, expected: Expected::Bytes(bytes(&columns)) },
            Output { binding: SUMS, expected },
        ];
        // All rows are written again where some were there before.
        let mut written = map.clone();
        written.clear();
        written.extend(growing.rows)?;
        let after = Columns::bytes(&written, sorted, true);
        let both = SortedPair::Index.bindings().into_iter().zip(held_before).zip(after);
        for ((binding, before), after) in both {
            tensors.push(held(binding, before));
            outputs.push(Output { binding, expected: Expected::Bytes(after) });
        }
        Ok(Proof { launches: spec.launches(caps, knobs)?, tensors, outputs })
    }
}
