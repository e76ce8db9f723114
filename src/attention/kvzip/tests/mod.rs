mod toy;

use super::*;
use crate::attention::evict::{Eviction, PairRule, Rule, Scores, Selection, share};
use crate::attention::{Denominator, KvCache};
use crate::{Error, Result};
use toy::{DIM, GROUP, HEADS, LAYERS, Toy};

fn template() -> RepeatTemplate {
    RepeatTemplate { first: vec![40, 41], next: vec![42, 43, 44], turn: vec![45] }
}

/// Chunks of 5 tokens, of which the next is reminded of 3.
fn kvzip(ratio: f64) -> Kvzip {
    Kvzip { chunk: 5, overlap: 3, ..Kvzip::new(template(), ratio) }
}

fn tokens(count: u32) -> Vec<u32> {
    (0..count).map(|at| at * at % 37).collect()
}

/// A model that has read a prefix of three tokens and a context of so many.
fn prefilled(context: &[u32], room: u32) -> Toy {
    let mut toy = Toy::new(1, room);
    toy.prefill(&[46, 47, 48]);
    toy.prefill(context);
    toy
}

fn rows(caches: &[KvCache]) -> Vec<crate::attention::HeadData> {
    let heads = caches.iter().flat_map(|cache| (0..HEADS).map(|head| cache.head(head).unwrap()));
    heads.collect()
}

#[test]
fn passes_worked_out_by_hand() {
    let sizes = Toy::new(1, 100).sizes();
    let context = tokens(11);
    let passes = kvzip(0.5).passes(&sizes, 3, &context).unwrap();
    let inputs: Vec<_> = passes.iter().map(|pass| pass.tokens.clone()).collect();
    let first = [&[40, 41, 45], &context[..5]].concat();
    let second = [&[42, 43, 44], &context[2..5], &[45], &context[5..10]].concat();
    let third = [&[42, 43, 44], &context[7..10], &[45], &context[10..]].concat();
    assert_eq!(inputs, [first, second, third]);
    let chunks: Vec<_> = passes.iter().map(|pass| (pass.number, pass.chunk.clone())).collect();
    assert_eq!(chunks, [(0, 3..8), (1, 8..13), (2, 13..14)]);
    assert_eq!(passes.iter().map(|pass| pass.start).collect::<Vec<_>>(), [0, 5, 10]);
    assert!(passes.iter().all(|pass| (pass.position, pass.sink) == (14, 3)));
    assert_eq!(passes[2].new_rows(), 14..22);

    // Fewer tokens than a chunk; no more of the chunk before than it has; another sink; no context.
    let few = Kvzip { chunk: 2000, ..kvzip(0.5) }.passes(&sizes, 0, &context).unwrap();
    assert_eq!((few.len(), few[0].chunk.clone(), few[0].sink), (1, 0..11, 0));
    let narrow = Kvzip { chunk: 1, overlap: 8, sink: SinkRows::First(2), ..kvzip(0.5) };
    let narrow = narrow.passes(&sizes, 3, &context).unwrap();
    assert_eq!((narrow.len(), narrow[10].sink), (11, 2));
    assert_eq!(narrow[1].tokens, [42, 43, 44, context[0], 45, context[1]]);
    assert!(kvzip(0.5).passes(&sizes, 3, &[]).unwrap().is_empty());
}

/// Looks at every layer of every pass, and scores by the attention matrix.
#[derive(Default)]
struct Matrix {
    scores: Option<Scores>,
    passes: Vec<RepeatPass>,
}

impl Scorer<HostLayer<'_>> for Matrix {
    fn begin(&mut self, sizes: &ModelSizes, n: u32, _: Denominator) -> Result<()> {
        self.scores = Some(Scores::zeros(sizes.layers, HEADS, n)?);
        Ok(())
    }

    fn score(&mut self, pass: &RepeatPass, layer: usize, data: HostLayer<'_>) -> Result<()> {
        let rows = pass.new_rows();
        assert_eq!(data.q.len(), pass.tokens.len() * HEADS * GROUP * DIM);
        let mut found = Vec::new();
        for head in 0..HEADS {
            let keys = data.cache.head(head)?.keys;
            assert_eq!(keys.len(), rows.end as usize * DIM);
            let mut best = vec![0.0f64; pass.chunk.len()];
            for (at, q) in data.q.chunks_exact(DIM).enumerate() {
                if at % (HEADS * GROUP) / GROUP != head {
                    continue;
                }
                let last = rows.start + (at / HEADS / GROUP) as u32;
                let in_sum = |row: u32| {
                    row < 3 || pass.chunk.contains(&row) || (rows.start..=last).contains(&row)
                };
                let x = |row: u32| {
                    toy::logits().of(q, &keys[row as usize * DIM..(row as usize + 1) * DIM]).exp()
                };
                let sum: f64 = (0..rows.end).filter(|row| in_sum(*row)).map(x).sum();
                let weights = pass.chunk.clone().map(|row| x(row) / sum);
                best.iter_mut().zip(weights).for_each(|(best, weight)| *best = best.max(weight));
            }
            found.extend(best.into_iter().map(|best| best as f32));
        }
        self.passes.push(pass.clone());
        self.scores.as_mut().unwrap().write(layer, pass.start, &found)
    }

    fn finish(&mut self) -> Result<Scores> {
        Ok(self.scores.take().unwrap())
    }
}

#[test]
fn scores_of_a_model_are_those_of_its_attention_matrices() {
    for n in [1, 4, 5, 6, 11] {
        let context = tokens(n);
        let mut toy = prefilled(&context, 60);
        let before = rows(&toy.caches);
        let mut matrix = Matrix::default();
        let (expected, _) = kvzip(0.5).score(&mut toy, &mut matrix, 3, &context).unwrap();
        assert_eq!(matrix.passes.len(), LAYERS * n.div_ceil(5) as usize);
        let mut scorer = ReferenceScorer::default();
        let (found, phases) = kvzip(0.5).score(&mut toy, &mut scorer, 3, &context).unwrap();
        for (found, expected) in found.values().iter().zip(expected.values()) {
            assert!((found - expected).abs() <= 1e-6 * expected, "{found} for {expected}");
            assert!((0.0..=1.0).contains(found) && *found > 0.0);
        }
        assert!(phases.passes.as_nanos() > 0 && phases.scoring.as_nanos() > 0);
        // Nothing of a pass is left.
        assert_eq!(rows(&toy.caches), before);
        assert!(toy.caches.iter().all(|cache| cache.layout().next_position() == 3 + n));
    }
}

#[test]
fn one_chunk_has_the_denominator_of_everything() {
    let context = tokens(9);
    let mut toy = prefilled(&context, 60);
    let of = |denominator, toy: &mut Toy| {
        let kvzip = Kvzip { chunk: 100, denominator, ..kvzip(0.5) };
        kvzip.score(toy, &mut ReferenceScorer::default(), 3, &context).unwrap().0
    };
    let [subset, full, none] = Denominator::ALL.map(|denominator| of(denominator, &mut toy));
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs();
    assert!(subset.values().iter().zip(full.values()).all(close));
    assert!(none.values().iter().any(|x| *x > 1.0 || *x < 0.0), "logits");
}

#[test]
fn what_is_left_serves_what_comes_after() {
    let context = tokens(23);
    let asked = [3, 9, 27];
    let mut full = prefilled(&context, 80);
    let exact = full.prefill(&asked);
    for rule in [Rule::Pair(PairRule::Exact), Rule::PairUniform, Rule::Head(PairRule::Exact)] {
        for ratio in [1.0, 0.6, 0.0] {
            let mut toy = prefilled(&context, 80);
            let driver =
                Kvzip { eviction: Eviction { rule, ..Eviction::new(ratio) }, ..kvzip(1.0) };
            let mut scorer = ReferenceScorer::default();
            let mut zipped = driver.run(&mut toy, &mut scorer, 3, &context).unwrap();
            let caches = zipped.compact(&toy.caches, 16).unwrap();
            let again = Selection::from_parts(
                zipped.selection.mask().clone(),
                zipped.selection.threshold(),
                0,
            );
            let applied = driver.apply(&toy.sizes(), again, 3).unwrap();
            assert_eq!(
                (&applied.lists, applied.report.bytes_after),
                (&zipped.lists, zipped.report.bytes_after)
            );
            let report = &zipped.report;
            for (layer, cache) in caches.iter().enumerate() {
                let kept = &report.kept[layer * HEADS..(layer + 1) * HEADS];
                let lengths: Vec<u32> = kept.iter().map(|kept| 3 + kept).collect();
                assert_eq!(cache.layout().lengths(), lengths);
                assert_eq!(zipped.lists[layer].lengths(), lengths);
                assert_eq!(zipped.lists[layer].head(0)[..3], [0, 1, 2]);
                assert_eq!(cache.layout().next_position(), 26);
            }
            let pairs = (LAYERS * HEADS) as u64 * 23;
            if rule == Rule::Pair(PairRule::Exact) {
                assert_eq!(zipped.selection.total(), share(pairs, ratio));
            }
            let row = 2 * 4 * DIM as u64;
            assert_eq!(report.bytes_before, (LAYERS * HEADS) as u64 * 26 * row);
            let stays = zipped.selection.total() + (LAYERS * HEADS) as u64 * 3;
            assert_eq!(report.bytes_after, stays * row);
            assert_eq!(
                (report.nan, report.threshold.is_some()),
                (0, ratio == 0.6 && rule != Rule::PairUniform)
            );

            let listed = |of: &[f32], rows: &[u32]| -> Vec<f32> {
                let row = |row: &u32| of[*row as usize * DIM..(*row as usize + 1) * DIM].to_vec();
                rows.iter().flat_map(row).collect()
            };
            for (layer, cache) in caches.iter().enumerate() {
                for head in 0..HEADS {
                    let (all, left) = (toy.caches[layer].head(head), cache.head(head).unwrap());
                    let rows = zipped.lists[layer].head(head);
                    assert_eq!(left.keys, listed(&all.as_ref().unwrap().keys, rows));
                    assert_eq!(left.values, listed(&all.unwrap().values, rows));
                }
            }

            toy.caches = caches;
            let found = toy.prefill(&asked);
            let off = exact.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert_eq!(off == 0.0, ratio == 1.0, "{rule:?} {ratio}: {off}");
        }
    }
}

#[test]
fn reports_are_tables() {
    let context = tokens(20);
    let mut toy = prefilled(&context, 60);
    let mut scorer = ReferenceScorer::default();
    let zipped = kvzip(0.25).run(&mut toy, &mut scorer, 3, &context).unwrap();
    let text = zipped.report.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + LAYERS + 4, "{text}");
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["layer", "h0", "h1", "kept"]);
    for (layer, line) in lines[1..=LAYERS].iter().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kept = &zipped.report.kept[layer * HEADS..(layer + 1) * HEADS];
        assert_eq!(words[0], layer.to_string());
        assert_eq!(words[1..3], [kept[0].to_string(), kept[1].to_string()]);
    }
    assert!(lines[4].starts_with("kept 25.00% of 20 positions, asked for 25.00%; 3 rows"));
    assert!((zipped.report.kept_ratio() - 0.25).abs() < 1e-12);
    // An empty context leaves everything as it is.
    let mut toy = prefilled(&[], 10);
    let mut zipped = kvzip(0.1).run(&mut toy, &mut scorer, 3, &[]).unwrap();
    assert_eq!((zipped.report.kept_ratio(), zipped.selection.total()), (1.0, 0));
    let caches = zipped.compact(&toy.caches, 16).unwrap();
    assert!(caches.iter().all(|cache| cache.layout().lengths() == [3, 3]));
}

#[test]
fn nothing_runs_where_it_cannot_be_done() {
    let context = tokens(11);
    let mut toy = prefilled(&context, 60);
    let run = |driver: Kvzip, toy: &mut Toy| {
        let mut matrix = Matrix::default();
        let error = driver.run(toy, &mut matrix, 3, &context).unwrap_err();
        assert!(matrix.passes.is_empty() && matrix.scores.is_none());
        error
    };
    for ratio in [f64::NAN, -0.1, 1.5] {
        let error = run(kvzip(ratio), &mut toy);
        assert!(matches!(&error, Error::Range { what, .. } if what.contains("ratio")), "{error}");
    }
    let error = run(Kvzip { chunk: 0, ..kvzip(0.5) }, &mut toy);
    assert!(error.to_string().starts_with("tokens of a chunk = 0"), "{error}");
    // 3 + 11 rows, and passes of 8, 12 and 8 tokens.
    toy.positions = 25;
    let error = run(kvzip(0.5), &mut toy);
    let expected = "positions of context and repetition = 26 is outside 0..=25, the model's";
    assert_eq!(error.to_string(), expected);
    toy.positions = 26;
    kvzip(0.5).run(&mut toy, &mut ReferenceScorer::default(), 3, &context).unwrap();

    // Engines and scorers that do not keep their word.
    toy.visited = LAYERS - 1;
    let found = kvzip(0.5).run(&mut toy, &mut ReferenceScorer::default(), 3, &context);
    assert!(matches!(found, Err(Error::Shape { what, .. }) if what == "layers of a pass"));
    toy.visited = LAYERS;
    let mut scorer = ReferenceScorer::default();
    assert!(matches!(scorer.finish(), Err(Error::Unsupported { .. })));
    let sizes = toy.sizes();
    let other = Scores::zeros(LAYERS, HEADS + 1, 11).unwrap();
    assert!(matches!(kvzip(0.5).evict(&sizes, &other, 3), Err(Error::Shape { .. })));
    let none = ModelSizes { layers: 0, ..sizes };
    assert!(matches!(kvzip(0.5).passes(&none, 3, &context), Err(Error::Range { .. })));
    let scores = Scores::zeros(LAYERS, HEADS, 11).unwrap();
    let mut zipped = kvzip(0.5).evict(&sizes, &scores, 3).unwrap();
    assert!(matches!(zipped.compact(&toy.caches[1..], 16), Err(Error::Shape { .. })));
    let mut short = toy.caches.clone();
    short[1].truncate(13).unwrap();
    let error = zipped.compact(&short, 16).unwrap_err();
    assert!(matches!(&error, Error::Layer { layer, .. } if layer == "1"), "{error}");
}
