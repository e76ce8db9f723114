use super::*;
use crate::attention::sparse::IndexMap;

fn spec(dim: usize, rows: u32) -> GreedyRuns {
    let index = *IndexMap::new(dim, &[rows, rows / 2]).unwrap().shape();
    let (input, low) = (Activation::F32, Low::Cheap);
    GreedyRuns { index, tokens: 2, group: 3, input, low, budget: 100 }
}

#[test]
fn a_workgroup_has_a_query_row() {
    let spec = spec(64, 1000);
    let launches = spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    assert_eq!(launches[0].grid(), [12, 1, 1]);
    assert_eq!(launches[0].variant(), "baseline");
    assert_eq!((spec.runs_len(), spec.found_len()), (12 * 64 * 4, 48));
    assert_eq!(spec.hits_len(), 12 * 1024);
    let caps = Caps { subgroups: true, subgroup_min: 32, subgroup_max: 64, ..Caps::webgpu() };
    let launches = spec.launches(&caps, &Knobs::DEFAULT).unwrap();
    assert_eq!(launches[0].variant(), "subgroup");
    let launches = spec.launches(&Caps { subgroup_min: 1, ..caps }, &Knobs::DEFAULT).unwrap();
    assert_eq!(launches[0].variant(), "baseline");
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |spec: GreedyRuns, knobs: &Knobs| {
        spec.launches(&Caps::webgpu(), knobs).unwrap_err().to_string()
    };
    let spec = spec(64, 1000);
    let plain = Knobs::DEFAULT;
    let index = spec.index;
    for (wrong, named) in [
        (GreedyRuns { index: IndexShape { dim: 63, ..index }, ..spec }, "columns of an index"),
        (GreedyRuns { index: IndexShape { dim: 0, ..index }, ..spec }, "columns of an index"),
        (GreedyRuns { index: IndexShape { heads: 0, ..index }, ..spec }, "KV heads"),
        (GreedyRuns { index: IndexShape { most: 100, ..index }, ..spec }, "room of an index"),
        (GreedyRuns { group: 0, ..spec }, "query heads"),
        (GreedyRuns { tokens: 17, ..spec }, "new tokens"),
        (GreedyRuns { tokens: 6, ..spec }, "query rows"),
        (GreedyRuns { low: Low::Exact, budget: 16_385, ..spec }, "0..=16384"),
    ] {
        let error = refused(wrong, &plain);
        assert!(error.contains(named), "{error}");
    }
    let reduce = |reduce| Knobs { reduce: Some(reduce), ..plain };
    assert!(refused(spec, &reduce(Reduce::Subgroup)).contains("subgroups"));
    assert!(refused(spec, &reduce(Reduce::Scatter)).contains("shuffles"));
    let large = *IndexMap::new(128, &[1 << 20]).unwrap().shape();
    assert!(refused(GreedyRuns { index: large, ..spec }, &plain).contains("sorted columns"));
}
