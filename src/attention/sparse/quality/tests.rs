use super::*;
use crate::attention::HeadData;
use crate::attention::reference::Logits;
use crate::attention::sparse::Amount;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

fn normal(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| StandardNormal.sample(rng)).collect()
}

fn lists(tokens: u32, heads: u32, group: u32, share: Share) -> Lists {
    Lists { tokens, heads, group, share, capacity: 4, sinks: 0, causal: false }
}

#[test]
fn quantiles_are_numbers_of_the_list() {
    let list = [3.0, 1.0, 2.0, 4.0];
    assert_eq!(
        [0.0, 0.25, 0.5, 0.9, 1.0].map(|share| quantile(&list, share)),
        [1.0, 1.0, 2.0, 4.0, 4.0]
    );
    assert_eq!(quantile(&[], 0.5), 0.0);
    assert!(quantile(&[1.0, -f64::NAN], 1.0).is_nan());
}

/// Three rows of weights 1/2, 1/3 and 1/6, of which some are kept.
#[test]
fn what_is_lost_is_what_it_should_be() {
    let logits = [6f64, 4.0, 2.0].map(f64::ln);
    let keys = logits.iter().flat_map(|x| [*x as f32, 0.0]).collect();
    let data = [HeadData { keys, values: vec![6.0, 0.0, 0.0, 6.0, 6.0, 6.0] }];
    let slices: Vec<HeadSlices<'_>> = data.iter().map(HeadSlices::from).collect();
    let index = KeyIndex::build(2, &data, 0).unwrap();
    let mode = Mode::new(Selection::Threshold { keep: 0.5 });
    let lists = lists(1, 1, 1, Share::Query);
    let queries = SparseQueries { q: &[1.0, 0.0], lists, logits: Logits::scaled(1.0), mode };
    let exact = Exact::of(&queries, &index, &slices).unwrap();
    assert_eq!(exact.best, [vec![0, 1, 2]]);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
    // (3 + 1, 2 + 1)
    close(exact.o[0], 4.0);
    close(exact.o[1], 3.0);
    let outcome = attend(&queries, &index, &slices).unwrap();
    let [row] = compare(&outcome, &exact).unwrap()[..] else { panic!() };
    // 0.6 and 0.4 of the values: (3.6, 2.4).
    close(row.mass, 5.0 / 6.0);
    close(row.relative, (0.4f64.powi(2) + 0.6f64.powi(2)).sqrt() / 5.0);
    close(row.largest, 0.6);
    close(row.cosine, (3.6 * 4.0 + 2.4 * 3.0) / (5.0 * (3.6f64.powi(2) + 2.4f64.powi(2)).sqrt()));
    close(row.kept, 2.0 / 3.0);
    assert_eq!(
        (row.candidates, row.recall, row.fallback),
        (1.0, [1.0, 2.0 / 3.0, 2.0 / 3.0], false)
    );
    let summary = Summary::of([row, row].iter());
    assert_eq!((summary.rows, summary.median, summary.p90), (2, row.relative, row.relative));
    assert_eq!(summary.recall, row.recall);
    // Keys of three rows once, their logits, and two values.
    let bytes = traffic(&queries, &index, &outcome);
    assert_eq!(bytes, [HeadTraffic { read: 12 + 12 + 8, dense: 24 }]);
}

#[test]
fn traffic_is_counted_for_each_list_or_head() {
    let (dim, rows, group) = (8, 200u32, 2);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut some = || normal(&mut rng, rows as usize * dim);
    let data = [HeadData { keys: some(), values: some() }];
    let slices: Vec<HeadSlices<'_>> = data.iter().map(HeadSlices::from).collect();
    let index = KeyIndex::build(dim, &data, 0).unwrap();
    let q = normal(&mut rng, 3 * group * dim);
    let of = |share, selection| {
        let mode = Mode::new(selection);
        let (lists, logits) = (lists(3, 1, group as u32, share), Logits::scaled(0.35));
        let queries = SparseQueries { q: &q, lists, logits, mode };
        let outcome = attend(&queries, &index, &slices).unwrap();
        let [bytes] = traffic(&queries, &index, &outcome)[..] else { panic!() };
        assert_eq!(bytes.dense, 3 * 200 * 4 * 8);
        (bytes.read, outcome)
    };
    let k = Amount::Count(10);
    let component = Selection::ComponentTopR { r: 3, k };
    // Three tokens: three columns, ranks, and ten rows.
    assert_eq!(of(Share::Group, component).0, 3 * (6 * 200 + 4 * 200 + 10 * (4 + 32)));
    assert_eq!(of(Share::Query, component).0, 3 * (6 * 200 + 2 * (4 * 200 + 10 * (4 + 32))));
    let top = Selection::TopK { k };
    assert_eq!(of(Share::Group, top).0, 3 * (200 * 16 + 2 * 200 * 4 + 10 * (4 + 16)));
    assert_eq!(of(Share::Query, top).0, 3 * (200 * 16 + 2 * (200 * 4 + 10 * (4 + 16))));
    let greedy = Selection::Greedy { steps: Amount::Count(40), keep: 0.0, exact: true };
    let (read, outcome) = of(Share::Group, greedy);
    let entries: u64 = outcome.stats.iter().map(|row| row.entries).sum();
    let listed: u64 = outcome.lists.iter().map(|list| list.rows.len() as u64).sum();
    assert!(entries > 3 * 2 * 40 && entries <= 3 * 2 * 80);
    assert_eq!(read, 4 * entries + 3 * 2 * 8 * 200 + listed * (4 + 32));
    let approximate = Selection::TopKApprox { k, steps: Amount::Count(40) };
    let (read, outcome) = of(Share::Group, approximate);
    let scored: u64 = outcome.lists.iter().map(|list| u64::from(list.scored)).sum();
    let entries: u64 = outcome.stats.iter().map(|row| row.entries).sum();
    assert!(scored > 3 * 10);
    assert_eq!(read, 4 * entries + 3 * 2 * 8 * 200 + 16 * scored + 3 * 10 * (4 + 16));
}

/// A head with one heavy row is served by a short search; one whose weights are all alike is not.
#[test]
fn tuning_finds_what_each_head_can_do() {
    let (dim, rows) = (32, 400);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut some = || normal(&mut rng, rows * dim);
    let mut data = [0; 2].map(|_| HeadData { keys: some(), values: some() });
    let mut q = normal(&mut rng, 4 * 2 * dim);
    for token in 0..4 {
        let (sharp, flat) = q[token * 2 * dim..(token + 1) * 2 * dim].split_at_mut(dim);
        let at = (token * 90 + 7) * dim;
        data[0].keys[at..at + dim].iter_mut().zip(sharp).for_each(|(k, q)| *k = 4.0 * *q);
        flat.iter_mut().for_each(|q| *q *= 0.1);
    }
    let slices: Vec<HeadSlices<'_>> = data.iter().map(HeadSlices::from).collect();
    let index = KeyIndex::build(dim, &data, 0).unwrap();
    let (lists, logits) =
        (lists(4, 2, 1, Share::Query), Logits::scaled((dim as f64).sqrt().recip()));
    let queries = SparseQueries { q: &q, lists, logits, mode: Mode::conservative() };
    let recorded = [Recorded { queries, index: &index, data: &slices }];
    let modes = grid(Tail::None);
    assert_eq!(modes.len(), 25);
    let choices = tune(&recorded, &modes, 0.02, 0.9).unwrap();
    let steps = |choice: &Choice| match choice.mode?.selection {
        Selection::Greedy { steps, .. } => Some(steps),
        _ => None,
    };
    assert_eq!(steps(&choices[0]), Some(Amount::Fraction(0.125)));
    assert!(choices[0].error <= 0.02 && choices[0].traffic < 0.5);
    assert_eq!(choices[1], Choice { mode: None, error: 0.0, traffic: 1.0 });
    // Any error will do.
    let choices = tune(&recorded, &modes, f64::INFINITY, 1.0).unwrap();
    assert!(choices.iter().all(|choice| steps(choice) == Some(Amount::Fraction(0.125))));
    for (target, share) in [(-1.0, 0.5), (f64::NAN, 0.5), (0.1, 1.5)] {
        assert!(matches!(tune(&recorded, &modes, target, share), Err(Error::Range { .. })));
    }
}
