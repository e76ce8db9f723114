use super::*;
use crate::attention::sparse::IndexMap;
use half::f16;

#[test]
fn the_reference_sorts_by_number_and_row() {
    let mut map = IndexMap::new(2, &[6]).unwrap();
    map.extend(&[6]).unwrap();
    let mut columns = vec![f16::NAN; 128];
    let numbers = [1.0, -2.0, 1.0, f32::NAN, 0.0, f32::INFINITY];
    for (at, x) in numbers.into_iter().enumerate() {
        columns[at] = f16::from_f32(x);
        columns[64 + at] = f16::from_f32(-x);
    }
    let mut found = SortedColumns { sorted: vec![f16::ZERO; 128], order: vec![9; 128] };
    reference(&columns, &map, |_| vec![0..2, 2..6], &mut found);
    assert_eq!(found.order[..6], [1, 0, 4, 2, 5, 3]);
    assert_eq!(found.order[64..70], [0, 1, 5, 2, 4, 3]);
    assert_eq!(found.sorted[2..5], [0.0, 1.0, f32::INFINITY].map(f16::from_f32));
    assert!(found.sorted[5].is_nan() && found.order[6..64].iter().all(|row| *row == 9));
}

#[test]
fn runs_have_workgroups() {
    let index = *IndexMap::new(64, &[100_000, 5]).unwrap().shape();
    let spec = SortColumns { index, at_once: 5000, to: SortedPair::Index };
    let launches = spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    assert_eq!(launches[0].grid(), [2 * 64 * 3, 1, 1]);
    assert_eq!(launches[0].traffic().bytes(), 128 * 5000 * 8);
    let other = SortColumns { to: SortedPair::Other, ..spec };
    let launches = other.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    let bound: Vec<_> = launches[0].operands().iter().map(|o| (o.binding, o.bytes)).collect();
    let words = 4 * u64::from(index.elements);
    assert_eq!(bound, [(10, 64), (11, words / 2), (28, words / 2), (29, words)]);
    let none = SortColumns { at_once: 0, ..spec };
    let error = none.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err().to_string();
    assert!(error.contains("1..=100032"), "{error}");
}
