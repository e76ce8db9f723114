use super::*;
use crate::attention::sparse::IndexMap;

#[test]
fn widths_and_rooms_are_checked() {
    let index = *IndexMap::new(128, &[100_000, 5]).unwrap().shape();
    let spec = MergeColumns { index, at_once: 3000, runs: Runs::Wide(2048), to: SortedPair::Other };
    let launches = spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    assert_eq!(launches[0].grid(), [256 * 3, 1, 1]);
    assert_eq!(launches[0].traffic().bytes(), 2 * 6 * 256 * 3000);
    let joined = MergeColumns { runs: Runs::Joined, at_once: index.most, ..spec };
    let launches = joined.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    assert_eq!(launches[0].grid(), [256 * 32, 1, 1]);
    for width in [0, 100, 1 << 31] {
        let spec = MergeColumns { runs: Runs::Wide(width), ..spec };
        let error = spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err().to_string();
        assert!(error.contains("multiples of 512"), "{error}");
    }
}
