//! KVzip with caches and scores on a device, on every adapter: scanned, selected and compacted there as it
//! is in host memory.

// The model's weights are not asked for here.
#[allow(dead_code)]
#[path = "../fixtures/smollm.rs"]
mod smollm;
#[path = "../fixtures/smollm_trace.rs"]
mod smollm_trace;
mod toy;
mod trace;

use fewbytes::attention::evict::{Eviction, KeepMask, PairRule, Rule, Scores, select};
use fewbytes::attention::kvzip::{Engine as _, Kvzip, ReferenceScorer, RepeatTemplate, Scorer};
use fewbytes::attention::reference::Logits;
use fewbytes::attention::{Denominator, KvCache, KvElement};
use fewbytes::linear::Activation;
use fewbytes::{Error, Result};
use fewbytes_wgpu::ops::select_pairs::{Around, Selection};
use fewbytes_wgpu::ops::{DeviceCache, DeviceLayer, DeviceScorer};
use fewbytes_wgpu::{Context, Features, adapters};
use toy::{DIM, GROUP, HEADS, InHost, LAYERS, OnDevice, Toy, append, attend};

const PREFIX: u32 = 3;
const N: u32 = 150;
const RATIOS: [f64; 5] = [1.0, 0.6, 0.3, 0.1, 0.0];
const AROUND: Around = Around { prefix: PREFIX, reserve: 16 };

fn contexts() -> Vec<Context> {
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: run `cargo xtask test`, which installs one");
    let open = |adapter| pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
    found.iter().map(open).collect()
}

/// Three chunks, the last of which is short.
fn driver(denominator: Denominator) -> Kvzip {
    let template = RepeatTemplate { first: vec![40, 41], next: vec![42, 43, 44], turn: vec![45] };
    Kvzip { chunk: 64, denominator, ..Kvzip::new(template, 0.3) }
}

fn tokens(count: u32) -> Vec<u32> {
    (0..count).map(|at| at * at % 37).collect()
}

fn prefilled<'c>(
    ctx: &'c Context,
    (element, input, gives_lse): (KvElement, Activation, bool),
    context: &[u32],
) -> Toy<'c> {
    let mut toy = Toy::new(ctx, element, input, gives_lse);
    toy.read(&[46, 47, 48], &mut |_, _| Ok(())).unwrap();
    toy.read(context, &mut |_, _| Ok(())).unwrap();
    toy
}

const KINDS: [(KvElement, Activation, bool); 3] = [
    (KvElement::F16, Activation::F32, true),
    (KvElement::F32, Activation::F16, false),
    (KvElement::Int8, Activation::F32, false),
];

/// Of shares relative to themselves; of logits, which may be 0, to 1 where they are smaller.
fn close(found: &Scores, expected: &Scores, denominator: Denominator) {
    assert_eq!((found.nan(), expected.nan()), (0, 0));
    assert_eq!(found.values().len(), expected.values().len());
    for (at, (found, expected)) in found.values().iter().zip(expected.values()).enumerate() {
        let least = if denominator == Denominator::None { 1.0 } else { 0.0 };
        let off = (found - expected).abs() / expected.abs().max(least);
        assert!(off <= 1e-5, "{denominator:?} {at}: {found} for {expected}");
    }
}

#[test]
fn scores_are_those_of_the_definition() {
    for ctx in contexts() {
        let mut scorer = DeviceScorer::new(&ctx);
        for kind in KINDS {
            let mut toy = prefilled(&ctx, kind, &tokens(N));
            let before = toy.host.clone();
            for denominator in Denominator::ALL {
                let driver = driver(denominator);
                let mut reference = ReferenceScorer::default();
                let mut host = InHost(&mut toy);
                let (expected, _) =
                    driver.score(&mut host, &mut reference, PREFIX, &tokens(N)).unwrap();
                let mut device = OnDevice(&mut toy);
                let (found, phases) =
                    driver.score(&mut device, &mut scorer, PREFIX, &tokens(N)).unwrap();
                close(&found, &expected, denominator);
                assert!(phases.scoring.as_nanos() > 0);
            }
            // Nothing of a pass is left.
            for ((cache, device), before) in toy.host.iter().zip(&toy.device).zip(&before) {
                let device = ctx.block_on(device.read_back(&ctx)).unwrap();
                for head in 0..HEADS {
                    assert_eq!(cache.head(head).unwrap(), before.head(head).unwrap());
                    assert_eq!(device.head(head).unwrap(), before.head(head).unwrap());
                }
            }
        }
        assert!(scorer.bytes() > 4 * (LAYERS * HEADS) as u64 * u64::from(N));
    }
}

#[test]
fn scores_in_pieces_and_of_other_contexts_are_the_same() {
    for ctx in contexts() {
        let layer = 4 * HEADS as u64 * u64::from(N);
        // Three pieces, two and one layers, and one piece.
        let mut scorers =
            [1, 2 * layer + 256, u64::MAX].map(|bytes| DeviceScorer::new(&ctx).in_pieces_of(bytes));
        for n in [N, 40, N] {
            let mut toy = prefilled(&ctx, KINDS[0], &tokens(n));
            let driver = driver(Denominator::Subset);
            let mut found = Vec::new();
            for (scorer, pieces) in scorers.iter_mut().zip([3, 2, 1]) {
                let spec = scorer.scores_of(&toy.sizes(), n).unwrap();
                driver.scan(&mut OnDevice(&mut toy), scorer, PREFIX, &tokens(n)).unwrap();
                assert_eq!(*scorer.spec().unwrap(), spec);
                if n == N {
                    assert_eq!(scorer.scores().unwrap().len(), pieces);
                }
                let scores = ctx.block_on(scorer.read()).unwrap();
                let (spec, budgets) = spec.evicting(&driver.eviction).unwrap();
                let selection = Selection::new(&ctx, &spec).unwrap();
                let views = scorer.scores().unwrap();
                let report = ctx.block_on(selection.select(&ctx, views, &budgets)).unwrap();
                assert_eq!(report.kept, select(&scores, &driver.eviction).unwrap().kept());
                found.push(scores);
            }
            assert!(found[0] == found[1] && found[1] == found[2]);
        }
    }
}

fn rules() -> Vec<Eviction> {
    let of = |rule, n_sink, n_recent| {
        move |ratio| Eviction { rule, n_sink, n_recent, ..Eviction::new(ratio) }
    };
    let exact = RATIOS.map(of(Rule::Pair(PairRule::Exact), 0, 0));
    let strict = [1.0, 0.3, 0.0].map(of(Rule::Pair(PairRule::RefStrict), 0, 0));
    let layers = [0.6, 0.0].map(of(Rule::PairPerLayer, 2, 5));
    let heads = [0.3, 0.0].map(of(Rule::PairUniform, 1, 0));
    exact.into_iter().chain(strict).chain(layers).chain(heads).collect()
}

#[test]
fn what_is_selected_and_left_is_as_in_host_memory() {
    for ctx in contexts() {
        for (kind, denominator) in KINDS.into_iter().zip(Denominator::ALL) {
            let mut toy = prefilled(&ctx, kind, &tokens(N));
            let driver = driver(denominator);
            let mut scorer = DeviceScorer::new(&ctx);
            driver.scan(&mut OnDevice(&mut toy), &mut scorer, PREFIX, &tokens(N)).unwrap();
            // Something was said since.
            toy.read(&[7, 8], &mut |_, _| Ok(())).unwrap();
            let scores = ctx.block_on(scorer.read()).unwrap();
            for eviction in rules() {
                let driver = Kvzip { eviction, ..driver.clone() };
                let (spec, budgets) = scorer.spec().unwrap().evicting(&eviction).unwrap();
                let selection = Selection::new(&ctx, &spec).unwrap();
                let views = scorer.scores().unwrap();
                let report = ctx.block_on(selection.select(&ctx, views, &budgets)).unwrap();
                let found = ctx.block_on(selection.kept(&ctx, &report)).unwrap();
                let mut expected = driver.evict(&toy.sizes(), &scores, PREFIX).unwrap();
                assert_eq!(found, expected.selection, "{eviction:?}");
                let applied = driver.apply(&toy.sizes(), found, PREFIX).unwrap();
                assert_eq!(applied.lists, expected.lists);
                assert_eq!(applied.report.bytes_after, expected.report.bytes_after);
                let host = expected.compact(&toy.host, AROUND.reserve).unwrap();
                let whole = |cache: &DeviceCache| cache.duplicate(&ctx).unwrap();
                let mut small: Vec<_> = toy.device.iter().map(whole).collect();
                selection.compact_all(&ctx, &report, &mut small, AROUND).unwrap();
                for (small, host) in small.iter().zip(&host) {
                    let small = ctx.block_on(small.read_back(&ctx)).unwrap();
                    assert!(small == *host, "{eviction:?}");
                }
                serves(&ctx, &toy, expected.selection.mask(), small);
            }
        }
    }
}

/// Attention to what is left is attention to the whole cache under the mask.
fn serves(ctx: &Context, toy: &Toy<'_>, mask: &KeepMask, small: Vec<DeviceCache>) {
    const ASKED: usize = 3;
    let numbers = |count: usize, by: f32| -> Vec<f32> {
        (0..count).map(|at| (by * at as f32).sin()).collect()
    };
    let (k, v) = (numbers(ASKED * HEADS * DIM, 0.37), numbers(ASKED * HEADS * DIM, 0.73));
    let q = numbers(ASKED * HEADS * GROUP * DIM, 1.13);
    let view = ctx.upload(&q).unwrap();
    for (layer, mut small) in small.into_iter().enumerate() {
        let mut whole = toy.host[layer].clone();
        whole.append(&k, &v).unwrap();
        append(ctx, &mut small, &k, &v);
        assert_eq!(small.layout().next_position(), whole.layout().next_position());
        let (o, _) = attend(ctx, &small, &view, Activation::F32, ASKED);
        let found = ctx.block_on(ctx.read::<f32>(&o)).unwrap();
        let expected = masked(&q, &whole, |head, row| match row.checked_sub(PREFIX) {
            Some(position) if position < N => mask.get(layer, head, position),
            _ => true,
        });
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 2e-5, "{found} for {expected}");
        }
    }
}

/// Attention of the newest tokens to the rows that stay, from the definition.
fn masked(q: &[f32], cache: &KvCache, stays: impl Fn(usize, u32) -> bool) -> Vec<f64> {
    let mut o = Vec::new();
    let q_len = q.len() / (HEADS * GROUP * DIM);
    let Logits { scale, softcap } = toy::logits();
    for (at, q) in q.chunks_exact(DIM).enumerate() {
        let (token, head) = (at / (HEADS * GROUP), at % (HEADS * GROUP) / GROUP);
        let data = cache.head(head).unwrap();
        let seen = cache.layout().len(head) - (q_len - token - 1) as u32;
        let (mut sum, mut out) = (0.0, vec![0.0; DIM]);
        for row in (0..seen).filter(|row| stays(head, *row)) {
            let of = row as usize * DIM..(row as usize + 1) * DIM;
            let keys = q.iter().zip(&data.keys[of.clone()]);
            let x = scale * keys.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>();
            let weight = softcap.map_or(x, |cap| cap * (x / cap).tanh()).exp();
            sum += weight;
            let values = out.iter_mut().zip(&data.values[of]);
            values.for_each(|(out, value)| *out += weight * f64::from(*value));
        }
        o.extend(out.into_iter().map(|out| out / sum));
    }
    o
}

#[test]
fn an_empty_context_has_no_scores_and_loses_nothing() {
    for ctx in contexts() {
        let mut scorer = DeviceScorer::new(&ctx);
        // Not those of the context before.
        for n in [N, 0] {
            let mut toy = prefilled(&ctx, KINDS[0], &tokens(n));
            let driver = driver(Denominator::Subset);
            let context = tokens(n);
            driver.scan(&mut OnDevice(&mut toy), &mut scorer, PREFIX, &context).unwrap();
            let (spec, budgets) = scorer.spec().unwrap().evicting(&driver.eviction).unwrap();
            let selection = Selection::new(&ctx, &spec).unwrap();
            let views = scorer.scores().unwrap();
            let report = ctx.block_on(selection.select(&ctx, views, &budgets)).unwrap();
            let found = ctx.block_on(selection.kept(&ctx, &report)).unwrap();
            assert_eq!((found.n(), found.total()), (n, u64::from(n) * LAYERS as u64 * 6 / 10));
            let scores = driver.score(&mut OnDevice(&mut toy), &mut scorer, PREFIX, &context);
            assert_eq!(scores.unwrap().0.pairs(), u64::from(n) * (LAYERS * HEADS) as u64);
            let before: Vec<Vec<u32>> = toy.device.iter().map(|c| c.layout().lengths()).collect();
            selection.compact_all(&ctx, &report, &mut toy.device, AROUND).unwrap();
            let after: Vec<Vec<u32>> = toy.device.iter().map(|c| c.layout().lengths()).collect();
            assert_eq!(before == after, n == 0);
        }
    }
}

#[test]
fn what_cannot_be_is_refused_before_the_device_works() {
    for ctx in contexts() {
        let context = tokens(N);
        let mut toy = prefilled(&ctx, KINDS[0], &context);
        let mut scorer = DeviceScorer::new(&ctx);
        let scan = |driver: Kvzip, toy: &mut Toy<'_>, scorer: &mut DeviceScorer<'_>| {
            let error = driver.scan(&mut OnDevice(toy), scorer, PREFIX, &context).unwrap_err();
            assert!(matches!(scorer.scores(), Err(Error::Unsupported { .. })));
            assert_eq!((toy.passes, scorer.bytes()), (0, 0));
            error.to_string()
        };
        let usual = || driver(Denominator::Subset);
        for ratio in [f64::NAN, -0.1, 1.5] {
            let driver = Kvzip { eviction: Eviction::new(ratio), ..usual() };
            let said = scan(driver, &mut toy, &mut scorer);
            assert_eq!(said, format!("ratio of kept pairs = {ratio} is outside 0..=1"));
        }
        let said = scan(Kvzip { chunk: 0, ..usual() }, &mut toy, &mut scorer);
        assert_eq!(said, "tokens of a chunk = 0 is outside 1..");
        // 153 rows, and passes of 67, 76 and 34 tokens.
        toy.positions = 228;
        let said = scan(usual(), &mut toy, &mut scorer);
        assert!(said.ends_with("= 229 is outside 0..=228, the model's"), "{said}");
        toy.positions = 229;
        let error = scorer.scores_of(&toy.sizes(), u32::MAX).unwrap_err();
        assert!(
            matches!(&error, Error::BindingTooLarge { what, .. }
            if what.contains("2 heads and 4294967295 positions")),
            "{error}"
        );
        let begun = scorer.begin(&toy.sizes(), u32::MAX, Denominator::Subset);
        assert_eq!(begun.unwrap_err().to_string(), error.to_string());
        assert_eq!(scorer.bytes(), 0);

        // An engine that leaves a layer out has no scores, whatever was there before.
        usual().scan(&mut OnDevice(&mut toy), &mut scorer, PREFIX, &context).unwrap();
        assert_eq!(scorer.scores().unwrap().len(), 1);
        toy.visited = LAYERS - 1;
        let error = usual().scan(&mut OnDevice(&mut toy), &mut scorer, PREFIX, &context);
        assert!(matches!(error, Err(Error::Shape { what, .. }) if what == "layers of a pass"));
        let error = scorer.scores().unwrap_err().to_string();
        assert_eq!(error, "scored positions of all layers: expected 450, found 128");
        assert!(scorer.finish().is_err());
        toy.visited = LAYERS;
    }
}

#[test]
fn a_chunk_scored_twice_does_not_stand_for_one_that_is_missing() {
    for ctx in contexts() {
        // Three chunks of one size.
        let n = 3 * 32;
        let mut toy = prefilled(&ctx, KINDS[0], &tokens(n));
        let driver = Kvzip { chunk: 32, ..driver(Denominator::Subset) };
        let sizes = toy.sizes();
        let mut passes = driver.passes(&sizes, PREFIX, &tokens(n)).unwrap();
        let mut scorer = DeviceScorer::new(&ctx);
        scorer.begin(&sizes, n, Denominator::Subset).unwrap();
        let missing = passes.pop().unwrap();
        passes.extend(passes.last().cloned());
        passes.push(missing);
        let error = "scored positions of all layers: expected 288, found 192";
        for (at, pass) in passes.iter().enumerate() {
            if at == 3 {
                assert_eq!(scorer.spec().unwrap_err().to_string(), error);
            }
            let score = |layer, data: DeviceLayer<'_>| scorer.score(pass, layer, data);
            OnDevice(&mut toy).repeat_pass(pass, score).unwrap();
        }
        scorer.spec().unwrap();
    }
}

#[test]
fn layers_that_do_not_fit_are_named() {
    for ctx in contexts() {
        let context = tokens(N);
        let toy = prefilled(&ctx, KINDS[0], &context);
        let sizes = toy.sizes();
        let passes = driver(Denominator::Full).passes(&sizes, PREFIX, &context).unwrap();
        let pass = &passes[0];
        let mut scorer = DeviceScorer::new(&ctx);
        let q = ctx.alloc::<f32>(pass.tokens.len() * HEADS * GROUP * DIM).unwrap();
        let refused = |scorer: &mut DeviceScorer<'_>, layer, data: DeviceLayer<'_>| {
            let refused: Result<()> = scorer.score(pass, layer, data);
            match refused.unwrap_err() {
                Error::Layer { layer: named, error } => {
                    assert_eq!(named, layer.to_string());
                    error.to_string()
                }
                other => panic!("{other}"),
            }
        };
        let short = DeviceLayer::new(&q, &toy.device[0]);
        let said = refused(&mut scorer, 0, short);
        assert!(said.contains("was not begun"), "{said}");
        scorer.begin(&sizes, N, Denominator::Full).unwrap();
        let said = refused(&mut scorer, 2, short);
        assert_eq!(said, "rows of head 0, those of context and pass: expected 220, found 153");

        let mut cache = DeviceCache::upload(&ctx, &toy.host[1]).unwrap();
        let rows = vec![0.5; pass.tokens.len() * HEADS * DIM];
        append(&ctx, &mut cache, &rows, &rows);
        let data = DeviceLayer::new(&q, &cache);
        scorer.score(pass, 1, data).unwrap();
        let said = refused(&mut scorer, LAYERS, data);
        assert!(said.contains("layer of scores = 3 is outside 0..3"), "{said}");
        let words = ctx.alloc::<u32>(q.len() as usize).unwrap();
        let said = refused(&mut scorer, 1, DeviceLayer { q: &words, ..data });
        assert!(said.contains("expected F32 or F16, found U32"), "{said}");
        let few = q.slice(0..64).unwrap();
        let said = refused(&mut scorer, 1, DeviceLayer { q: &few, ..data });
        assert!(said.contains("length of q"), "{said}");
        let said = refused(&mut scorer, 1, data.with_lse(&few));
        assert!(said.contains("length of lse"), "{said}");
        let other = Toy::new(&ctx, KvElement::F32, Activation::F32, false);
        let said = refused(&mut scorer, 1, DeviceLayer::new(&q, &other.device[0]));
        assert!(said.contains("cache of a scored layer"), "{said}");
    }
}
