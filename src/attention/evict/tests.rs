use super::*;
use crate::Error;
use crate::attention::KeepLists;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const RULES: [Rule; 6] = [
    Rule::Pair(PairRule::Exact),
    Rule::Pair(PairRule::RefStrict),
    Rule::PairUniform,
    Rule::PairPerLayer,
    Rule::Head(PairRule::Exact),
    Rule::Head(PairRule::RefStrict),
];

/// Scores of some kind: spread, equal, of few values as bf16 leaves them, of both signs, odd ones.
fn values(kind: usize, count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let odd =
        [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, 1e-45, -1e-45];
    let mut one = |_| match kind {
        0 => rng.random_range(0.0..1.0),
        1 => 0.25,
        2 => f32::from_bits(rng.random_range(0f32..1.0).to_bits() & 0xffff_0000),
        3 => rng.random_range(-30.0..30.0),
        _ => odd[rng.random_range(0..odd.len())],
    };
    (0..count).map(&mut one).collect()
}

fn eviction() -> impl Strategy<Value = Eviction> {
    let ratio = prop_oneof![
        0.0..=1.0,
        (0u32..=10).prop_map(|tenths| f64::from(tenths) / 10.0),
        Just(1e-9),
        Just(1.0 - 1e-12)
    ];
    let place = || prop_oneof![Just(0u32), 0u32..6, Just(u32::MAX)];
    (ratio, 0..RULES.len(), place(), place()).prop_map(|(ratio, rule, n_sink, n_recent)| Eviction {
        ratio,
        rule: RULES[rule],
        n_sink,
        n_recent,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn counting_selects_what_sorting_does(
        (layers, heads, n) in (1usize..4, 1usize..5, 0u32..90),
        (kind, seed) in (0usize..5, any::<u64>()),
        eviction in eviction(),
    ) {
        let values = values(kind, layers * heads * n as usize, seed);
        let scores = Scores::new(layers, heads, n, values).unwrap();
        let found = select(&scores, &eviction).unwrap();
        prop_assert_eq!(&found, &reference::select(&scores, &eviction).unwrap());

        let pairs = scores.pairs();
        let rows = (layers * heads) as u64;
        let always = u64::from(n).min(u64::from(eviction.n_sink) + u64::from(eviction.n_recent));
        let of = |pairs: u64| share(pairs, eviction.ratio);
        let expected = match eviction.rule {
            _ if eviction.ratio == 1.0 => Some(pairs),
            Rule::Pair(PairRule::Exact) => Some(of(pairs).max(rows * always)),
            Rule::PairUniform => Some(rows * of(n.into()).max(always)),
            Rule::PairPerLayer => {
                let layer = heads as u64;
                Some(layers as u64 * of(layer * u64::from(n)).max(layer * always))
            }
            _ => None,
        };
        if let Some(expected) = expected {
            prop_assert_eq!(found.total(), expected);
        } else {
            prop_assert!(found.total() <= of(pairs).max(rows * always));
        }
        for layer in 0..layers {
            for head in 0..heads {
                let kept: Vec<u32> = found.positions(layer, head).collect();
                prop_assert_eq!(kept.len() as u32, found.kept()[layer * heads + head]);
                prop_assert!(kept.is_sorted_by(|a, b| a < b));
                prop_assert!(kept.iter().all(|p| found.mask().get(layer, head, *p)));
            }
        }
    }

    #[test]
    fn keys_order_as_scores_do(a in any::<f32>(), b in any::<f32>()) {
        let clean = |x: f32| if x.is_nan() { 0.0 } else { x + 0.0 };
        let (x, y) = (clean(a), clean(b));
        prop_assert_eq!(key::key(a).cmp(&key::key(b)), x.total_cmp(&y));
        prop_assert_eq!(key::score(key::key(a)).to_bits(), x.to_bits());
    }

    #[test]
    fn masks_survive_their_words(n in 0u32..100, seed in any::<u64>()) {
        let scores = Scores::new(2, 3, n, values(0, 6 * n as usize, seed)).unwrap();
        let mask = select(&scores, &Eviction::new(0.37)).unwrap().into_mask();
        let words = mask.words().to_vec();
        prop_assert_eq!(words.len(), 6 * n.div_ceil(32) as usize);
        let again = KeepMask::from_words(2, 3, n, words.clone()).unwrap();
        prop_assert_eq!(&again, &mask);
        if !n.is_multiple_of(32) {
            let mut padded = words;
            *padded.last_mut().unwrap() |= 1 << 31;
            let error = KeepMask::from_words(2, 3, n, padded).unwrap_err();
            let named = matches!(error, Error::Value { row: 5, .. });
            prop_assert!(named, "{}", error);
        }
    }
}

#[test]
fn shares_are_whole_numbers_where_they_should_be() {
    for (total, ratio, expected) in [
        (10, 0.3, 3),
        (100, 0.29, 29),
        (100_000_000, 0.29, 29_000_000),
        (10, 0.7, 7),
        (1000, 0.001, 1),
        (999, 0.001, 0),
        (7, 0.5, 3),
        (0, 0.5, 0),
        (5, 0.0, 0),
        (5, 1.0, 5),
        (5, 1.0 - 1e-12, 4),
        (1 << 40, 0.1, 109_951_162_777),
    ] {
        assert_eq!(share(total, ratio), expected, "{total} x {ratio}");
    }
    let budget = |rule, ratio| Eviction { rule, ..Eviction::new(ratio) }.budget(100);
    // The released code's product is 28.999999999999996, and cut.
    assert_eq!([Rule::PairUniform, RULES[1]].map(|rule| budget(rule, 0.29)), [29, 28]);
    assert!(RULES.iter().all(|rule| budget(*rule, 1.0) == 100));
    // Every hundredth of every total that it divides.
    for hundredths in 0..=100u64 {
        for total in (0..=20_000).step_by(100) {
            assert_eq!(share(total, hundredths as f64 / 100.0), total / 100 * hundredths);
        }
    }
}

#[test]
fn rules_worked_out_by_hand() {
    let scores = [0.9, 0.1, 0.5, 0.2, 0.3, 0.5, 0.0, 0.8, 0.7, 0.6, 0.05, 0.5, 0.4, 0.4, 0.4, 0.4];
    let scores = Scores::new(2, 2, 4, scores.to_vec()).unwrap();
    let kept = |eviction: Eviction| -> Vec<Vec<u32>> {
        let found = select(&scores, &eviction).unwrap();
        let heads = (0..2).flat_map(|layer| (0..2).map(move |head| (layer, head)));
        heads.map(|(layer, head)| found.positions(layer, head).collect()).collect()
    };
    let half = Eviction::new(0.5);
    // 0.9, 0.8, 0.7, 0.6, three of 0.5, and the first 0.4.
    let pair = kept(half);
    assert_eq!(pair, [vec![0, 2], vec![1, 3], vec![0, 1, 3], vec![0]]);
    assert_eq!(select(&scores, &half).unwrap().threshold(), Some(0.4));
    // Index 7 of the descending order is 0.4: nothing equal to it stays.
    let strict = Eviction { rule: Rule::Pair(PairRule::RefStrict), ..half };
    assert_eq!(kept(strict), [vec![0, 2], vec![1, 3], vec![0, 1, 3], vec![]]);
    let tiny = Eviction { ratio: 0.1, ..strict };
    assert_eq!(kept(tiny), vec![Vec::<u32>::new(); 4]);
    let uniform = Eviction { rule: Rule::PairUniform, ..half };
    assert_eq!(kept(uniform), [vec![0, 2], vec![1, 3], vec![0, 1], vec![0, 1]]);
    let layers = Eviction { rule: Rule::PairPerLayer, ratio: 0.25, ..half };
    assert_eq!(kept(layers), [vec![0], vec![3], vec![0, 1], vec![]]);
    let heads = Eviction { rule: Rule::Head(PairRule::Exact), ..half };
    assert_eq!(kept(heads), [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![], vec![]]);
    let strict = Eviction { rule: Rule::Head(PairRule::RefStrict), ..half };
    assert_eq!(kept(strict), [vec![0, 1, 2, 3], vec![], vec![], vec![]]);
    // Sink and recent tokens of heads that go: of 8 pairs 4 x 2 are taken, so no head stays whole.
    let duo = Eviction { n_sink: 1, n_recent: 1, ..heads };
    assert_eq!(kept(duo), vec![vec![0, 3]; 4]);
    let duo = Eviction { ratio: 0.75, ..duo };
    assert_eq!(kept(duo)[..3], [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![0, 3]]);
    // What stays by its place comes out of the budget.
    let placed = Eviction { n_sink: 1, n_recent: 1, ratio: 10.0 / 16.0, ..half };
    // 8 by their place, then 0.6 and the first 0.5 that is between them.
    assert_eq!(kept(placed), [vec![0, 2, 3], vec![0, 3], vec![0, 1, 3], vec![0, 3]]);
}

#[test]
fn nothing_and_everything() {
    let scores = Scores::new(2, 1, 3, vec![f32::NAN, 1.0, -0.0, 0.0, f32::NAN, -1.0]).unwrap();
    assert_eq!((scores.nan(), scores.values()[2].to_bits()), (2, 0));
    for rule in RULES {
        let all = select(&scores, &Eviction { rule, ..Eviction::new(1.0) }).unwrap();
        assert_eq!((all.total(), all.nan(), all.threshold()), (6, 2, None), "{rule:?}");
        let none = select(&scores, &Eviction { rule, ..Eviction::new(0.0) }).unwrap();
        assert_eq!(none.total(), 0);
        let placed = Eviction { rule, n_sink: 1, ..Eviction::new(0.0) };
        assert_eq!(select(&scores, &placed).unwrap().kept(), [1, 1]);
        let empty = Scores::zeros(2, 1, 0).unwrap();
        let found = select(&empty, &Eviction { rule, ..Eviction::new(0.5) }).unwrap();
        assert_eq!((found.total(), found.kept()), (0, &[0, 0][..]));
    }
    // NaN is 0 and comes before what is below 0.
    let found = select(&scores, &Eviction::new(0.5)).unwrap();
    assert_eq!(found.mask().words(), [0b111, 0]);
}

#[test]
fn bad_input_is_named() {
    let scores = Scores::zeros(1, 1, 1).unwrap();
    for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let error = select(&scores, &Eviction::new(ratio)).unwrap_err();
        assert_eq!(error.to_string(), format!("ratio of kept pairs = {ratio} is outside 0..=1"));
        let head = Eviction { rule: Rule::Head(PairRule::Exact), ..Eviction::new(ratio) };
        assert!(matches!(select(&scores, &head), Err(Error::Range { .. })));
    }
    assert!(matches!(Scores::new(1, 2, 3, vec![0.0; 5]), Err(Error::Shape { .. })));
    assert!(matches!(Scores::zeros(0, 2, 3), Err(Error::Range { .. })));
    assert!(matches!(Scores::zeros(1, 65_536, 3), Err(Error::Range { .. })));
    assert!(matches!(Scores::zeros(0xffff, 0xffff, u32::MAX), Err(Error::Range { .. })));
    let mut scores = Scores::zeros(2, 2, 4).unwrap();
    assert!(matches!(scores.write(2, 0, &[0.0; 2]), Err(Error::Range { .. })));
    assert!(matches!(scores.write(1, 3, &[0.0; 4]), Err(Error::Range { .. })));
    assert!(matches!(scores.write(1, u32::MAX, &[0.0; 2]), Err(Error::Range { .. })));
    assert!(matches!(scores.write(1, 0, &[0.0; 3]), Err(Error::Shape { .. })));
    let other = Scores::zeros(2, 2, 5).unwrap();
    assert!(matches!(Scores::combine([&scores, &other]), Err(Error::Shape { .. })));
    assert!(matches!(Scores::combine([]), Err(Error::Shape { .. })));
    assert!(matches!(select_budgets(&scores, &[1], 0, 0), Err(Error::Shape { .. })));
    let heads = scores.head_scores();
    let pairs = Eviction::new(0.5);
    assert!(matches!(select_heads(&heads, 9, &pairs), Err(Error::Unsupported { .. })));
    assert!(matches!(HeadScores::new(2, 2, vec![0.0; 3]), Err(Error::Shape { .. })));
    let found = select(&scores, &pairs).unwrap();
    assert!(matches!(found.keep_lists(2, 0, 4), Err(Error::Range { .. })));
    assert!(matches!(found.keep_lists(0, 1, 4), Err(Error::Range { .. })));
    assert!(matches!(found.keep_lists(0, u32::MAX, u32::MAX), Err(Error::Range { .. })));
    assert!(matches!(KeepMask::from_words(1, 1, 33, vec![0]), Err(Error::Shape { .. })));
}

#[test]
fn scores_are_put_together_from_pieces_and_sources() {
    let mut scores = Scores::zeros(2, 2, 5).unwrap();
    scores.write(1, 3, &[1.0, 2.0, f32::NAN, 4.0]).unwrap();
    scores.write(0, 0, &[]).unwrap();
    assert_eq!(scores.head(1, 0), [0.0, 0.0, 0.0, 1.0, 2.0]);
    assert_eq!(scores.head(1, 1), [0.0, 0.0, 0.0, 0.0, 4.0]);
    assert_eq!((scores.head(2, 0), scores.nan()), (&[][..], 1));
    let pieces = [scores.values()[..10].to_vec(), scores.values()[10..].to_vec()];
    let whole = Scores::from_layers(2, 5, &pieces).unwrap();
    assert_eq!(whole.values(), scores.values());
    let other = Scores::new(2, 2, 5, vec![1.5; 20]).unwrap();
    let both = Scores::combine([&scores, &other]).unwrap();
    assert_eq!(both.head(1, 1), [1.5, 1.5, 1.5, 1.5, 4.0]);
    assert_eq!((both.nan(), both.pairs()), (1, 20));
    let heads = both.head_scores();
    assert_eq!(heads.values(), [1.5, 1.5, 2.0, 4.0]);
    let all = HeadScores::new(2, 2, vec![3.0, 0.0, 0.0, 0.0]).unwrap();
    let all = HeadScores::combine([&heads, &all]).unwrap();
    assert_eq!(all.values(), [3.0, 1.5, 2.0, 4.0]);
    let wide = all.broadcast(3).unwrap();
    assert_eq!(wide.head(1, 0), [2.0; 3]);
    // Scores of heads serve contexts that they do not come from.
    let rule = Rule::Head(PairRule::Exact);
    let found = select_heads(&all, 100, &Eviction { rule, ..Eviction::new(0.6) }).unwrap();
    assert_eq!(found.kept(), [100, 0, 0, 100]);
    assert_eq!(Scores::zeros(1, 2, 0).unwrap().head_scores().values(), [0.0, 0.0]);
}

#[test]
fn budgets_of_layers() {
    let scores = Scores::new(2, 2, 4, (0..16).map(|at| (at * 7 % 16) as f32).collect()).unwrap();
    let found = select_budgets(&scores, &[3, 1], 0, 0).unwrap();
    assert_eq!(found.kept(), [3, 3, 1, 1]);
    let found = select_budgets(&scores, &[9, 0], 1, 1).unwrap();
    assert_eq!(found.kept(), [4, 4, 2, 2]);
    assert_eq!(found.positions(1, 1).collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn rows_of_the_prefix_and_after_the_context_stay() {
    let scores = Scores::new(1, 2, 3, vec![0.0, 1.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    let found = select(&scores, &Eviction::new(1.0 / 6.0)).unwrap();
    let expected = KeepLists::new(&[vec![0, 1, 3, 5, 6], vec![0, 1, 5, 6]], &[7, 7]).unwrap();
    assert_eq!(found.keep_lists(0, 2, 7).unwrap(), expected);
    let none = select(&scores, &Eviction::new(0.0)).unwrap();
    assert_eq!(none.keep_lists(0, 0, 3).unwrap().lengths(), [0, 0]);
}

#[test]
fn many_pairs_take_little_besides_their_scores() {
    // 4 layers, 8 heads: 2^21 pairs of few values.
    let n = 1 << 16;
    let scores = Scores::new(4, 8, n, values(2, 32 << 16, 5)).unwrap();
    for rule in RULES {
        let eviction = Eviction { rule, ..Eviction::new(0.3) };
        let found = select(&scores, &eviction).unwrap();
        assert_eq!(found.mask().words().len(), 32 << 11);
        let wanted = share(scores.pairs(), 0.3);
        match rule {
            Rule::Pair(PairRule::Exact) => assert_eq!(found.total(), wanted),
            _ => assert!(found.total() <= wanted),
        }
    }
}

#[test]
fn scores_of_heads_are_written_and_read() {
    let scores = HeadScores::new(2, 2, vec![0.1, 1e-30, -3.5, 0.25]).unwrap();
    let text = serde_json::to_string(&scores).unwrap();
    assert_eq!(text, r#"{"layers":2,"heads":2,"scores":[0.1,1e-30,-3.5,0.25]}"#);
    let again: HeadScores = serde_json::from_str(&text).unwrap();
    assert_eq!(again, scores);
    for bad in ["[0.1]", "[0.1,1,2,3,4]", "[0.1,1,2,null]", "[0.1,1,2,3],\"more\":1"] {
        let text = format!(r#"{{"layers":2,"heads":2,"scores":{bad}}}"#);
        assert!(serde_json::from_str::<HeadScores>(&text).is_err(), "{bad}");
    }
    let text = r#"{"layers":0,"heads":2,"scores":[]}"#;
    let error = serde_json::from_str::<HeadScores>(text).unwrap_err().to_string();
    assert!(error.contains("layers of scores = 0 is outside 1..=65535"), "{error}");
}
