//! What makes an index from the rows of a cache, and keeps it up as rows are appended.

use super::{IndexMap, IndexShape, IndexSource, OTHER_ORDER, OTHER_SORTED, SortedPair};
use crate::attention::merge_columns::Runs;
use crate::attention::{KeyColumns, MergeColumns, RowSums, SortColumns, key_columns, sort_columns};
use crate::launch::{Caps, Knobs, Launch, Scratch, Spec, Traffic};
use crate::{Error, Result};

/// What an index consists of beside its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexParts {
    /// Sums over rows: for [`Tail::Mean`](super::Tail::Mean).
    pub sums: bool,
    /// Sorted columns: for a greedy search.
    pub sorted: bool,
}

/// The launches that bring an index up to date: its columns, its sums and its sorted columns, for the rows
/// `from .. rows` of the [map](IndexMap) as it is when they run.
///
/// They do not depend on how many rows these are, but on how many they can be:
/// [`at_once`](IndexSource::at_once), which is a limit here. [`BuildIndex::check`] says whether a map is
/// within it; what is beyond would be left unsorted.
///
/// New rows are sorted in runs, which are merged among themselves: `p` passes, as many as doublings make
/// [`sort_columns::RUN`] rows `at_once`. Each pass goes from `sorted` and `order` to a copy of them in scratch
/// memory or back; where `p` is odd sorting begins in the copy, so that all end in the index. Where rows
/// were there before, their run is merged with the new one into the copy and copied back: an extension of
/// sorted columns reads and writes all of them twice, so it is best made of many rows at a time.
///
/// Scratch memory is as large as `sorted` and `order` together, where columns are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BuildIndex {
    /// Where rows come from, and the index.
    pub source: IndexSource,
    /// What is made.
    pub parts: IndexParts,
    /// Whether rows may have been there before: `from` may be above 0.
    pub grows: bool,
}

impl BuildIndex {
    /// Whether the launches do what the rows of a map ask for.
    ///
    /// # Errors
    /// [`Error::Shape`] for an index of another shape; [`Error::Range`] naming the head for more new rows than
    /// [`at_once`](IndexSource::at_once), for rows before where none are expected, and for sorted columns to
    /// which an odd number of rows is to be added.
    pub fn check(&self, map: &IndexMap) -> Result<()> {
        let IndexSource { index, at_once, .. } = &self.source;
        if map.shape() != index {
            let (expected, found) = (format!("{index:?}"), format!("{:?}", map.shape()));
            return Err(Error::shape("index", expected, found));
        }
        for (head, columns) in map.heads().iter().enumerate() {
            let new = columns.rows.saturating_sub(columns.from);
            if new > *at_once {
                let what = format!("new rows of head {head} of an index");
                return Err(Error::range(what, format!("0..={at_once}"), new));
            }
            if columns.from > 0 && !self.grows {
                let what = format!("rows before of head {head} of an index that is built");
                return Err(Error::range(what, "0..=0", columns.from));
            }
            // Words of two are written whole.
            if self.parts.sorted && new > 0 && !columns.from.is_multiple_of(2) {
                let what = format!("rows before of head {head} of an index that grows");
                return Err(Error::range(what, "even numbers", columns.from));
            }
        }
        Ok(())
    }

    /// Bytes of scratch memory for a copy of sorted columns: of numbers, rounded up, and of rows.
    fn copy_bytes(index: &IndexShape) -> [u64; 2] {
        [(4 * index.words()).next_multiple_of(256), 4 * index.order_words()]
    }

    /// Sorting and merging.
    fn sorting(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let IndexSource { index, at_once, .. } = self.source;
        let runs = at_once.div_ceil(sort_columns::RUN).next_power_of_two();
        let passes = runs.trailing_zeros();
        let mut to = if passes % 2 == 0 { SortedPair::Index } else { SortedPair::Other };
        let mut launches = SortColumns { index, at_once, to }.launches(caps, knobs)?;
        let mut merge = |runs, at_once, to| -> Result<()> {
            launches.extend(MergeColumns { index, at_once, runs, to }.launches(caps, knobs)?);
            Ok(())
        };
        for pass in 0..passes {
            to = to.other();
            merge(Runs::Wide(sort_columns::RUN << pass), at_once, to)?;
        }
        if self.grows {
            merge(Runs::Joined, index.most, SortedPair::Other)?;
            merge(Runs::All, index.most, SortedPair::Index)?;
        }
        let [sorted, order] = Self::copy_bytes(&index);
        for launch in &mut launches {
            for (binding, offset, bytes) in
                [(OTHER_SORTED, 0, 4 * index.words()), (OTHER_ORDER, sorted, order)]
            {
                let before = launch.operands.len();
                launch.operands.retain(|operand| operand.binding != binding);
                if launch.operands.len() < before {
                    launch.scratch.push(Scratch { binding, offset, bytes });
                }
            }
        }
        Ok(launches)
    }
}

impl Spec for BuildIndex {
    /// That of the first launch.
    fn kernel(&self) -> &'static str {
        key_columns::NAME
    }

    /// [`Traffic`] is that of the first launch, of rows and sums; and of sorting that what is sorted is read
    /// and written once: passes are an artifact.
    ///
    /// # Errors
    /// As those of [`KeyColumns`], [`RowSums`], [`SortColumns`] and [`MergeColumns`].
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let mut launches = KeyColumns(self.source).launches(caps, knobs)?;
        if self.parts.sums {
            launches.extend(RowSums(self.source).launches(caps, knobs)?);
        }
        if self.parts.sorted {
            let mut sorting = self.sorting(caps, knobs)?;
            sorting.iter_mut().skip(1).for_each(|launch| launch.traffic = Traffic::default());
            launches.extend(sorting);
        }
        Ok(launches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::sparse::COLUMNS;
    use crate::attention::{CacheShape, KvElement, RowMapShape, merge_columns};

    fn build(at_once: u32, grows: bool) -> BuildIndex {
        let shape = CacheShape::new(1, 64, KvElement::F16).unwrap();
        let index = *IndexMap::new(64, &[60_000]).unwrap().shape();
        let map = RowMapShape { heads: 1, starts: 0, page_rows: 0, entries: 0 };
        let source = IndexSource { shape, tensor_rows: 60_000, map, index, at_once };
        BuildIndex { source, parts: IndexParts { sums: true, sorted: true }, grows }
    }

    /// Which pair each launch that sorts writes.
    fn written(build: &BuildIndex) -> Vec<bool> {
        let launches = build.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
        let sorts = launches
            .iter()
            .filter(|launch| [sort_columns::NAME, merge_columns::NAME].contains(&launch.kernel()));
        sorts
            .map(|launch| {
                let written = |number| {
                    let binding = launch.bindings().iter().find(|b| b.number == number);
                    binding.is_some_and(|b| b.name == "sorted_out")
                };
                assert!(written(super::super::SORTED) != written(OTHER_SORTED));
                assert!(launch.scratch().len() % 2 == 0);
                written(super::super::SORTED)
            })
            .collect()
    }

    #[test]
    fn passes_end_in_the_index() {
        assert_eq!(written(&build(2048, false)), [true]);
        assert_eq!(written(&build(2049, false)), [false, true]);
        assert_eq!(written(&build(60_000, false)), [false, true, false, true, false, true]);
        assert_eq!(written(&build(512, true)), [true, false, true]);
        let without =
            BuildIndex { parts: IndexParts { sums: false, sorted: false }, ..build(64, true) };
        let launches = without.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
        assert_eq!(launches.len(), 1);
        assert!(launches[0].operands().iter().any(|operand| operand.binding == COLUMNS));
    }

    #[test]
    fn rows_beyond_what_was_planned_are_refused() {
        let mut map = IndexMap::new(64, &[60_000]).unwrap();
        map.extend(&[512]).unwrap();
        build(512, true).check(&map).unwrap();
        build(512, false).check(&map).unwrap();
        let refused = |build: BuildIndex, map: &IndexMap| build.check(map).unwrap_err().to_string();
        assert!(refused(build(511, true), &map).contains("0..=511"));
        map.extend(&[513]).unwrap();
        assert!(refused(build(512, false), &map).contains("that is built"));
        map.extend(&[600]).unwrap();
        assert!(refused(build(512, true), &map).contains("even"));
        map.extend(&[600]).unwrap();
        build(512, true).check(&map).unwrap();
        let other = IndexMap::new(64, &[1000]).unwrap();
        assert!(matches!(build(512, true).check(&other), Err(Error::Shape { .. })));
    }
}
