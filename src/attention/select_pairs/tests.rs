use super::report::ALWAYS;
use super::*;
use crate::attention::evict::key::key;
use crate::launch::Access;

fn spec() -> SelectPairs {
    SelectPairs::new(1, 2, 5)
}

const SCORES: [f32; 10] = [0.5, 0.25, 0.75, 0.5, 0.0, 0.5, 1.0, f32::NAN, -1.0, -0.0];

fn kept(spec: &SelectPairs, budgets: &[u32]) -> Vec<usize> {
    let selected = reference(spec, &SCORES, budgets).unwrap();
    let counts = selected.report.kept.iter().sum::<u32>() as usize;
    let kept: Vec<usize> = (0..10).filter(|at| selected.keep[*at]).collect();
    assert_eq!(kept.len(), counts);
    kept
}

#[test]
fn the_reference_takes_the_largest_and_of_equal_ones_the_first() {
    assert_eq!(kept(&spec(), &[0]), [0usize; 0]);
    assert_eq!(kept(&spec(), &[2]), [2, 6]);
    assert_eq!(kept(&spec(), &[4]), [0, 2, 3, 6]);
    // Zero, NaN and -0 are equal.
    assert_eq!(kept(&spec(), &[8]), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(kept(&spec(), &[9]), [0, 1, 2, 3, 4, 5, 6, 7, 9]);
    let heads = SelectPairs { segments: Segments::Heads, ..spec() };
    assert_eq!(kept(&heads, &[1, 3]), [2, 5, 6, 7]);
    let always = SelectPairs { sink: 1, recent: 1, ..spec() };
    assert_eq!(kept(&always, &[5]), [0, 4, 5, 6, 9]);
    // What is always kept is, whatever the budget.
    assert_eq!(kept(&always, &[1]), [0, 4, 5, 9]);
    assert_eq!(kept(&always, &[u32::MAX]).len(), 10);
    let endless = SelectPairs { recent: usize::MAX, ..spec() };
    assert_eq!(kept(&endless, &[0]).len(), 10);
    let report = reference(&spec(), &SCORES, &[4]).unwrap().report;
    assert_eq!(report.segments, [Found { threshold: Some(0.5), equal: 3, kept: 2 }]);
    assert_eq!((report.nans, report.kept), (1, vec![3, 1]));
}

#[test]
fn the_published_cut_leaves_the_last_score_out() {
    let strict = SelectPairs { cut: Cut::RefStrict, ..spec() };
    // Number max(k, 1) and all that are equal to it go.
    assert_eq!(kept(&strict, &[0]), [0usize; 0]);
    assert_eq!(kept(&strict, &[1]), [0usize; 0]);
    assert_eq!(kept(&strict, &[3]), [2, 6]);
    assert_eq!(kept(&strict, &[5]), [2, 6]);
    assert_eq!(kept(&strict, &[10]).len(), 10);
    let always = SelectPairs { sink: 1, ..strict };
    assert_eq!(kept(&always, &[2]), [0, 5]);
    assert_eq!(kept(&always, &[5]), [0, 2, 5, 6]);
}

#[test]
fn keys_are_in_the_order_of_numbers() {
    let tiny = f32::from_bits(1);
    let ascending =
        [f32::NEG_INFINITY, f32::MIN, -1.0, -tiny, 0.0, tiny, 1.0, f32::MAX, f32::INFINITY];
    let keys = ascending.map(key);
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]) && keys[8] < ALWAYS, "{keys:x?}");
    assert_eq!([f32::NAN, -f32::NAN, -0.0].map(key), [key(0.0); 3]);
    let segments: Vec<_> =
        ascending.iter().map(|&x| Found { threshold: Some(x), equal: 1, kept: 1 }).collect();
    let heads = SelectPairs { segments: Segments::Heads, ..SelectPairs::new(9, 1, 1) };
    let report = Report { nans: 3, segments, kept: vec![1; 9] };
    assert_eq!(Report::of(&heads, &report.words()).unwrap(), report);
    let error = Report::of(&heads, &report.words()[1..]).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}

#[test]
fn scores_are_read_twice_and_scratch_is_apart() {
    let caps = Caps::webgpu();
    let spec = SelectPairs::new(32, 8, 32_768);
    let launches = spec.launches(&caps, &Knobs::DEFAULT).unwrap();
    assert_eq!(launches.len(), 9);
    let traffic = launches.iter().map(Launch::traffic).sum::<crate::launch::Traffic>();
    assert_eq!(traffic.bytes(), 8 * spec.pairs() as u64 + 3 * 4 * spec.mask_len() as u64);
    let pieces = SelectPairs { piece_layers: 5, ..spec }.launches(&caps, &Knobs::DEFAULT).unwrap();
    assert_eq!(pieces.len(), 4 + 5 * 7);
    let mut ends = Vec::new();
    for launch in &pieces {
        for part in launch.scratch() {
            let span = (part.binding, part.offset, part.offset + part.bytes);
            if !ends.contains(&span) {
                ends.push(span);
            }
            let written = |b: &&crate::launch::Binding| b.number == part.binding;
            let binding = launch.bindings().iter().find(written).unwrap();
            assert_eq!(binding.access, Access::ReadWrite);
        }
    }
    ends.sort_by_key(|(_, offset, _)| *offset);
    assert!(ends.windows(2).all(|pair| pair[0].2 <= pair[1].1), "{ends:?}");
    assert_eq!(ends.len(), 2 + 7);
}

#[test]
fn what_cannot_be_is_refused_with_words() {
    let caps = Caps::webgpu();
    let refused = |spec: SelectPairs| spec.launches(&caps, &Knobs::DEFAULT).unwrap_err();
    let large = SelectPairs::new(32, 8, 400_000);
    let error = refused(large);
    assert!(matches!(error, Error::BindingTooLarge { .. }), "{error}");
    assert!(error.to_string().contains("scores of select_pairs"), "{error}");
    let pieces = large.in_pieces(&caps);
    assert_eq!(pieces.piece_layers, 10);
    assert!(!pieces.launches(&caps, &Knobs::DEFAULT).unwrap().is_empty());
    let error = refused(SelectPairs::new(1 << 10, 1 << 10, 1 << 12)).to_string();
    assert!(error.contains("4294967296"), "{error}");
    assert!(refused(SelectPairs { stride: 9, ..spec() }).to_string().contains("9"));
    assert!(matches!(refused(SelectPairs { piece_layers: 0, ..spec() }), Error::Range { .. }));
    for empty in [SelectPairs::new(0, 1, 1), SelectPairs::new(1, 0, 1), SelectPairs::new(1, 1, 0)] {
        assert!(empty.launches(&caps, &Knobs::DEFAULT).unwrap().is_empty());
        assert_eq!(empty.in_pieces(&caps).pieces().count(), empty.layers);
    }
    for reduce in [Reduce::Subgroup, Reduce::Scatter] {
        let knobs = Knobs { reduce: Some(reduce), ..Knobs::DEFAULT };
        let error = spec().launches(&caps, &knobs).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
    let knobs = Knobs { rows: Some(0), ..Knobs::DEFAULT };
    assert!(matches!(spec().launches(&caps, &knobs), Err(Error::Range { .. })));

    // Sizes beyond all that is counted are refused too.
    for huge in [
        SelectPairs::new(usize::MAX, usize::MAX, usize::MAX),
        SelectPairs { stride: usize::MAX, layers: 2, piece_layers: 2, ..spec() },
    ] {
        assert!(huge.report_len() > 0);
        assert_eq!(huge.in_pieces(&caps).piece_layers, 1);
        let launches = huge.launches(&caps, &Knobs::DEFAULT);
        let expected = |e: &Error| matches!(e, Error::Range { .. } | Error::BindingTooLarge { .. });
        assert!(launches.as_ref().is_err_and(expected), "{launches:?}");
    }

    let always = SelectPairs { sink: 1, recent: 1, segments: Segments::Heads, ..spec() };
    always.check_budgets(&[2, 5]).unwrap();
    let budgets = |budgets: &[u32]| always.check_budgets(budgets).unwrap_err().to_string();
    assert!(budgets(&[2]).contains("expected 2, found 1"));
    assert!(budgets(&[2, 6]).contains("budget of segment 1 of select_pairs = 6 is outside 2..=5"));
    assert!(budgets(&[1, 5]).contains("budget of segment 0"));
    let error = reference(&always, &SCORES[1..], &[2, 2]).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}

#[test]
fn many_workgroups_go_into_a_second_dimension() {
    let knobs = Knobs { rows: Some(1), ..Knobs::DEFAULT };
    let model = SelectPairs::new(700, 100, 1);
    let launches = model.launches(&Caps::webgpu(), &knobs).unwrap();
    // Those that count have a block a workgroup.
    assert_eq!(launches.iter().filter(|launch| launch.grid()[1] > 1).count(), 3);
    for launch in launches {
        let [x, y, _] = launch.grid();
        assert!(x <= 65_535 && x * y <= 70_001, "{:?}", launch.grid());
    }
    // A histogram each is more than a binding holds.
    let heads = SelectPairs { segments: Segments::Heads, ..model };
    let error = heads.launches(&Caps::webgpu(), &knobs).unwrap_err();
    assert!(matches!(error, Error::BindingTooLarge { .. }), "{error}");
    assert!(error.to_string().contains("histograms of select_pairs"), "{error}");
}

#[test]
fn an_eviction_keeps_what_it_keeps_in_host_memory() {
    use crate::attention::evict::{Eviction, PairRule, Rule, Scores, select};
    let (layers, heads, n) = (2, 3, 7u32);
    // Few different ones, so that many are equal.
    let scores: Vec<f32> = (0..42).map(|at| ((at * at * 29 + at) % 11) as f32 - 3.0).collect();
    let host = Scores::new(layers, heads, n, scores.clone()).unwrap();
    let spec = SelectPairs::new(layers, heads, n as usize);
    for rule in [
        Rule::Pair(PairRule::Exact),
        Rule::Pair(PairRule::RefStrict),
        Rule::PairPerLayer,
        Rule::PairUniform,
    ] {
        for (n_sink, n_recent) in [(0, 0), (1, 2), (0, 1), (5, 6)] {
            for ratio in [0.0, 0.05, 0.1, 0.3, 0.42, 0.5, 0.6, 0.99, 1.0] {
                let eviction = Eviction { ratio, rule, n_sink, n_recent };
                let (spec, budgets) = spec.evicting(&eviction).unwrap();
                let found = reference(&spec, &scores, &budgets).unwrap();
                let expected = select(&host, &eviction).unwrap();
                assert_eq!(found.report.kept, expected.kept(), "{eviction:?}");
                for (pair, keep) in found.keep.iter().enumerate() {
                    let (row, position) = (pair / 7, (pair % 7) as u32);
                    let stays = expected.mask().get(row / heads, row % heads, position);
                    assert_eq!(*keep, stays, "{eviction:?} {pair}");
                }
            }
        }
    }
    let whole = Eviction { rule: Rule::Head(PairRule::Exact), ..Eviction::new(0.5) };
    assert!(matches!(spec.evicting(&whole), Err(Error::Unsupported { .. })));
    let error = spec.evicting(&Eviction::new(f64::NAN)).unwrap_err().to_string();
    assert!(error.contains("ratio of kept pairs = NaN"), "{error}");
    let many = SelectPairs::new(1 << 9, 1 << 7, 1 << 17).evicting(&Eviction::new(0.5));
    assert!(many.unwrap_err().to_string().contains("= 8589934592 is outside 0..=4294967295"));
}
