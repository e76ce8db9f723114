//! The case table of `merge_columns`.

use super::bitplane::Squeeze;
use super::growing::held;
use super::sort_columns::{Columns, Numbers};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::attention::MergeColumns;
use crate::attention::merge_columns::{NAME, Runs};
use crate::attention::sort_columns::reference;
use crate::attention::sparse::{HeadColumns, INDEX_MAP, SortedPair};
use crate::launch::{Caps, Knobs, Spec as _};
use std::ops::Range;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct MergeCase {
    columns: Columns,
    runs: Runs,
}

pub(super) fn cases() -> Vec<MergeCase> {
    let default = Columns { to: SortedPair::Other, ..Columns::DEFAULT };
    let (narrow, wide) = (Runs::Wide(512), Runs::Wide(2048));
    let of = |runs, columns| MergeCase { columns, runs };
    let mut all = vec![of(narrow, default)];
    // One run, two, three; one of a single element, one that ends with a tile.
    let rows: &[u32] = &[512, 513, 1024, 1025, 1536, 3];
    all.push(of(narrow, Columns { from: &[0; 6], rows, dim: 2, ..default }));
    let rows: &[u32] = &[4095, 4096, 10_001];
    for numbers in
        [Numbers::Random, Numbers::Ties, Numbers::Equal, Numbers::Falling, Numbers::Edges]
    {
        let to = if numbers == Numbers::Ties { SortedPair::Index } else { SortedPair::Other };
        all.push(of(wide, Columns { numbers, rows, to, ..default }));
    }
    let later = Columns { from: &[64, 0, 5000], rows: &[6001, 0, 5000], dim: 2, ..default };
    all.push(of(narrow, Columns { numbers: Numbers::Ties, ..later }));
    all.push(of(wide, Columns { at_once: Some(100), to: SortedPair::Index, ..later }));
    // Those before and the new ones: none of either, few and many, all lower or higher.
    let (from, rows): (&[u32], &[u32]) = (&[0, 700, 4000, 2], &[1000, 700, 4001, 3001]);
    let joined = Columns { from, rows, ..default };
    all.push(of(Runs::Joined, joined));
    for numbers in [Numbers::Ties, Numbers::Falling, Numbers::Equal] {
        all.push(of(Runs::Joined, Columns { numbers, to: SortedPair::Index, dim: 2, ..joined }));
    }
    all.push(of(Runs::All, joined));
    // Rows as u32; more than 128 times 128 elements of a run.
    let large = Columns { from: &[40_000], rows: &[70_001], dim: 2, ..default };
    all.push(of(Runs::Joined, large));
    all.push(of(wide, Columns { spare: 65_536, to: SortedPair::Index, ..default }));
    all.push(of(narrow, Columns { dim: 64, squeeze: Squeeze::Groups(30), ..default }));
    all
}

impl MergeCase {
    /// Runs before, or after.
    fn of(&self, place: &HeadColumns, merged: bool) -> Vec<Range<u32>> {
        match (self.runs, merged) {
            (Runs::Wide(width), false) => Columns::runs(place, width),
            (Runs::Wide(width), true) => Columns::runs(place, 2 * width),
            (Runs::Joined, false) => vec![0..place.from, place.from..place.rows],
            (Runs::Joined, true) | (Runs::All, _) => std::iter::once(0..place.rows).collect(),
        }
    }
}

impl Case for MergeCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        format!("{:?} {}", self.runs, self.columns.name())
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs::baseline())]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let map = self.columns.map()?;
        let at_once = self.columns.at_once.unwrap_or(map.shape().most);
        let (index, to) = (*map.shape(), self.columns.to);
        let spec = MergeColumns { index, at_once, runs: self.runs, to };
        let columns = self.columns.columns(&map);
        let mut given = Columns::untouched(&map);
        let mut found = given.clone();
        let before = Columns::bytes(&map, found.clone(), false);
        reference(&columns, &map, |place| self.of(place, false), &mut given);
        reference(&columns, &map, |place| self.of(place, true), &mut found);
        // Of all rows, those are written that were there before too.
        let mut written = map.clone();
        if !matches!(self.runs, Runs::Wide(_)) {
            written.clear();
            written.extend(self.columns.rows)?;
        }
        let given = Columns::bytes(&map, given, false);
        let mut tensors =
            vec![Tensor::input(INDEX_MAP, bytemuck::cast_slice(map.words()).to_vec())];
        let inputs = to.other().bindings().into_iter().zip(given);
        tensors.extend(inputs.map(|(binding, bytes)| Tensor::input(binding, bytes)));
        let mut outputs = Vec::new();
        let all = before.into_iter().zip(Columns::bytes(&written, found, true));
        for (binding, (before, after)) in to.bindings().into_iter().zip(all) {
            tensors.push(held(binding, before));
            outputs.push(Output { binding, expected: Expected::Bytes(after) });
        }
        let launches = spec.launches(&self.columns.squeeze.apply(caps), knobs)?;
        Ok(Proof { launches, tensors, outputs })
    }
}
