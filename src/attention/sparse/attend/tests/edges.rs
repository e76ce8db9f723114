use super::*;

#[test]
fn what_cannot_be_searched_is_attended_to_exactly() {
    let (dim, rows) = (4, 12);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut data = [0; 3].map(|_| head(&mut rng, rows, dim));
    // The keys of the first head are all against the query; one of the second is no number.
    data[0].keys.iter_mut().for_each(|k| *k = k.abs() + 0.1);
    data[1].keys[9 * dim] = f32::NAN;
    let mut q = vec![1.0; 3 * dim];
    q[..dim].fill(-1.0);
    let index = KeyIndex::build(dim, &data, 0).unwrap();
    let all: Vec<u32> = (0..rows as u32).collect();
    for mode in [Mode::aggressive(), Mode::conservative(), Mode::balanced()] {
        let queries = SparseQueries { q: &q, lists: lists(1, 3, 1), logits: scaled(dim), mode };
        let outcome = attend(&queries, &index, &slices(&data)).unwrap();
        let fallbacks: Vec<bool> = outcome.stats.iter().map(|row| row.fallback).collect();
        assert_eq!(fallbacks, [true, true, false]);
        let (o, lse) = over_rows(&q[..dim], &data[0], &all, &scaled(dim));
        close(&outcome.o[..dim], &o, "o");
        close(&outcome.lse[..1], &[lse], "lse");
        assert!(outcome.o[dim..2 * dim].iter().all(|o| o.is_nan()));
        assert!(outcome.o[2 * dim..].iter().all(|o| o.is_finite()));
    }
    // Neither a query of zeros nor one that is no number points anywhere.
    for (bad, nan) in [(0.0, false), (f32::NAN, true), (f32::INFINITY, true)] {
        q[2 * dim..].fill(bad);
        let lists = lists(1, 3, 1);
        let queries = SparseQueries { q: &q, lists, logits: scaled(dim), mode: Mode::aggressive() };
        let outcome = attend(&queries, &index, &slices(&data)).unwrap();
        assert!(outcome.stats[2].fallback);
        assert_eq!(outcome.stats[2].kept, all);
        assert_eq!(outcome.o[2 * dim..].iter().all(|o| o.is_nan()), nan);
    }
}

#[test]
fn few_rows_or_none_are_no_trouble() {
    let dim = 2;
    for rows in [0, 1, 2] {
        let data = HeadData { keys: vec![1.0; rows * dim], values: vec![2.0; rows * dim] };
        let index = KeyIndex::build(dim, std::slice::from_ref(&data), 0).unwrap();
        for selection in [
            Mode::conservative().selection,
            Selection::TopK { k: Amount::Count(4) },
            Selection::TopKApprox { k: Amount::Count(4), steps: ALL },
            Selection::ComponentTopR { r: 1, k: Amount::Count(4) },
            Selection::Threshold { keep: 1.0 },
        ] {
            for tail in [Tail::None, Tail::Mean] {
                let (mode, logits) = (Mode { selection, tail }, Logits::scaled(1.0));
                let lists = Lists { sinks: 4, ..lists(1, 1, 1) };
                let queries = SparseQueries { q: &[1.0, 0.5], lists, logits, mode };
                let outcome =
                    attend(&queries, &index, &slices(std::slice::from_ref(&data))).unwrap();
                let expected = if rows == 0 { 0.0 } else { 2.0 };
                close(&outcome.o, &[expected; 2], "o");
                let lse = if rows == 0 { NO_KEY.into() } else { 1.5 + (rows as f64).ln() };
                close(&outcome.lse, &[lse], "lse");
                assert_eq!(outcome.stats[0].mass, 1.0);
            }
        }
    }
}

#[test]
fn bad_input_is_refused() {
    let data = HeadData { keys: vec![1.0; 8], values: vec![2.0; 8] };
    let index = KeyIndex::build(2, std::slice::from_ref(&data), 0).unwrap();
    let right = SparseQueries {
        q: &[1.0; 4],
        lists: lists(2, 1, 1),
        logits: Logits::scaled(1.0),
        mode: Mode::conservative(),
    };
    let of =
        |queries: &SparseQueries<'_>, data: &[HeadData]| attend(queries, &index, &slices(data));
    let data = [data];
    of(&right, &data).unwrap();
    // The first of two new tokens does not see all four rows.
    let causal = SparseQueries { lists: Lists { causal: true, ..right.lists }, ..right };
    assert!(matches!(of(&causal, &data), Err(Error::Range { .. })));
    let short = SparseQueries { q: &[1.0; 3], ..right };
    assert!(matches!(of(&short, &data), Err(Error::Shape { .. })));
    let flat = SparseQueries { logits: Logits::scaled(0.0), ..right };
    assert!(matches!(of(&flat, &data), Err(Error::Range { .. })));
    assert!(matches!(of(&right, &[]), Err(Error::Shape { .. })));
    let ragged = [HeadData { keys: vec![1.0; 8], values: vec![2.0; 6] }];
    assert!(matches!(of(&right, &ragged), Err(Error::Shape { .. })));
    let mode = Mode::new(Selection::ComponentTopR { r: 3, k: ALL });
    assert!(matches!(of(&SparseQueries { mode, ..right }, &data), Err(Error::Range { .. })));
}

/// A key beyond f16 stops searches of the index; what reads every key needs none.
#[test]
fn a_threshold_of_all_rows_does_not_ask_the_index() {
    let keys = vec![1e5, 0.0, 1.0, 1.0, -1.0, 2.0];
    let data = [HeadData { values: keys.clone(), keys }];
    let index = KeyIndex::build(2, &data, 0).unwrap();
    assert_eq!(index.flags(), [1]);
    let (lists, logits) = (lists(1, 1, 1), Logits::scaled(1.0));
    let kept = |selection| {
        let queries = SparseQueries { q: &[0.0, 4.0], lists, logits, mode: Mode::new(selection) };
        let outcome = attend(&queries, &index, &slices(&data)).unwrap();
        (outcome.stats[0].kept.clone(), outcome.stats[0].fallback)
    };
    assert_eq!(kept(Selection::Threshold { keep: 0.5 }), (vec![2], false));
    assert_eq!(kept(Mode::conservative().selection), (vec![0, 1, 2], true));
}
