//! KVzip from end to end on a real model: stories260K reads the beginning of a story, its cache is scored
//! by repeating it, evicted, and the rest of the story is read from what is left.
//!
//! `FEWBYTES_DATA` names the folder of real data; `../shared/data` beside this package by default. A file
//! that is missing is named. `--nocapture` shows the tables that `docs/kvzip.md` has.

// The model of the other tests is not asked for here.
#[allow(dead_code)]
#[path = "fixtures/smollm.rs"]
mod data;
#[path = "fixtures/stories.rs"]
mod stories;

use comfy_table::{Table, presets};
use fewbytes::attention::append_kv::{Pairing, Rotary};
use fewbytes::attention::evict::sources::{
    Accumulate, Observed, QueryStatistics, SNAP_POOL, SNAP_WINDOW, Turns, expected_attention,
    observed_attention, random, recent, snap_kv,
};
use fewbytes::attention::evict::{Eviction, PairRule, Rule, Scores, Selection, select};
use fewbytes::attention::kvzip::{
    FIRST_INSTRUCTION, Kvzip, NEXT_INSTRUCTION, ReferenceScorer, RepeatTemplate,
};
use fewbytes::attention::{Denominator, RESERVE};
use stories::{DIM, GROUP, HEADS, LAYERS, Model, OWN, Reader, Tokenizer};

/// Tokens of the context, behind the one that begins a text.
const N: u32 = 190;
const RATIOS: [f64; 5] = [0.7, 0.5, 0.3, 0.2, 0.1];

struct Data {
    model: Model,
    tokenizer: Tokenizer,
    /// Tokens of every story.
    texts: Vec<Vec<u32>>,
}

fn read(test: &str) -> Option<Data> {
    let file = |name| data::read(name, &format!("kvzip_model::{test}"));
    let model = Model::parse(&file("models/stories260K.bin")?);
    let tokenizer = Tokenizer::parse(&file("models/tok512.bin")?);
    let text = String::from_utf8(file("text/tinystories_sample.txt")?).unwrap();
    let texts = text.split("<|endoftext|>").map(str::trim).filter(|text| !text.is_empty());
    let texts = texts.map(|text| {
        let mut tokens = [&[1], &tokenizer.encode(text)[..]].concat();
        tokens.truncate(512);
        tokens
    });
    let texts = texts.collect();
    Some(Data { model, tokenizer, texts })
}

/// Logarithms of probabilities.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from(x - largest).exp()).sum();
    logits.iter().map(|x| f64::from(x - largest) - sum.ln()).collect()
}

fn best(logits: &[f32]) -> usize {
    let better = |a: usize, b: usize| if logits[b] > logits[a] { b } else { a };
    (0..logits.len()).reduce(better).unwrap()
}

#[test]
fn the_model_reads_as_it_should() {
    let Some(data) = read("the_model_reads") else { return };
    let (mut sum, mut count) = (0.0, 0);
    for text in &data.texts {
        let logits = Reader::new(&data.model).read(text, |_, _| Ok(())).unwrap();
        for (logits, next) in logits.iter().zip(&text[1..]) {
            sum -= log_softmax(logits)[*next as usize];
            count += 1;
        }
    }
    // Of an independent implementation in f64.
    assert_eq!(count, 1804);
    assert!((sum / 1804.0 - 1.266_441_026_7).abs() < 1e-5, "{}", sum / 1804.0);
}

/// How the rest of a story is read.
#[derive(Default, Clone, Copy)]
struct Read {
    /// Sums over tokens: of the divergence from the full cache, of other first choices, of what the next
    /// token costs.
    divergence: f64,
    flips: f64,
    nll: f64,
    tokens: f64,
}

/// A method and what it does, ratio by ratio.
type Row = (&'static str, [Read; RATIOS.len()]);

impl Read {
    fn join(&mut self, other: &Self) {
        self.divergence += other.divergence;
        self.flips += other.flips;
        self.nll += other.nll;
        self.tokens += other.tokens;
    }

    fn add(&mut self, full: &[Vec<f32>], found: &[Vec<f32>], rest: &[u32]) {
        for ((full, found), next) in full.iter().zip(found).zip(&rest[1..]) {
            let (p, q) = (log_softmax(full), log_softmax(found));
            self.divergence += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            self.flips += f64::from(u8::from(best(full) != best(found)));
            self.nll -= q[*next as usize];
            self.tokens += 1.0;
        }
    }
}

/// The queries of every layer, as the context was read.
fn prefilled<'a>(data: &'a Data, text: &[u32]) -> (Reader<'a>, Vec<Vec<f32>>) {
    let mut reader = Reader::new(&data.model);
    let mut queries = Vec::new();
    let collect = |_, layer: fewbytes::attention::kvzip::HostLayer<'_>| {
        queries.push(layer.q[HEADS * GROUP * DIM..].to_vec());
        Ok(())
    };
    reader.read(&text[..1 + N as usize], collect).unwrap();
    (reader, queries)
}

/// Scores of other methods, by the queries of the context itself.
fn baselines(reader: &Reader<'_>, queries: &[Vec<f32>]) -> Vec<(&'static str, Scores, Rule, u32)> {
    let of = |score: &dyn Fn(&Observed<'_>, usize) -> Vec<f32>| {
        let layer = |(at, q): (usize, &Vec<f32>)| {
            let (q_len, query_heads, logits) = (N as usize, HEADS * GROUP, stories::logits());
            let (first, context) = (1, 1..1 + N);
            score(&Observed { q, q_len, query_heads, first, context, logits }, at)
        };
        let pieces: Vec<Vec<f32>> = queries.iter().enumerate().map(layer).collect();
        Scores::from_layers(HEADS, N, &pieces).unwrap()
    };
    let observed = |accumulate| {
        of(&|asked, at| observed_attention(asked, &reader.caches[at], accumulate).unwrap())
    };
    let snap = of(&|asked, at| snap_kv(asked, &reader.caches[at], SNAP_WINDOW, SNAP_POOL).unwrap());
    let expected = of(&|asked, at| {
        let rotary = Rotary { dims: OWN, pairing: Pairing::Interleaved, angle_rows: 0 };
        let turns = Turns { rotary, theta: 1e4, first: 1, future: 1 + N..1 + N + 512 };
        let statistics = QueryStatistics::of(asked.q, HEADS * GROUP, DIM, Some(&turns)).unwrap();
        let (cache, context) = (&reader.caches[at], asked.context.clone());
        expected_attention(&statistics, cache, context, &asked.logits, Some(0.0)).unwrap()
    });
    let (pair, uniform) = (Rule::Pair(PairRule::Exact), Rule::PairUniform);
    let recency = recent(LAYERS, HEADS, N, 3).unwrap();
    vec![
        ("H2O, max", observed(Accumulate::Max), pair, 0),
        ("H2O, sum", observed(Accumulate::Sum), uniform, 0),
        ("H2O, sum, and 16 recent", observed(Accumulate::Sum), uniform, 16),
        // A window of 32 tokens is more than a tenth of these contexts.
        ("SnapKV", snap, uniform, 16),
        ("Expected Attention", expected.clone(), uniform, 0),
        ("Expected Attention, and 16 recent", expected, uniform, 16),
        ("sink + recent", recency, uniform, 0),
        ("random", random(LAYERS, HEADS, N, 1).unwrap(), pair, 0),
    ]
}

fn rest(data: &Data, reader: &Reader<'_>, selection: &Selection, text: &[u32]) -> Vec<Vec<f32>> {
    let compact = |(layer, cache): (usize, &fewbytes::attention::KvCache)| {
        let lists = selection.keep_lists(layer, 1, cache.layout().len(0)).unwrap();
        cache.compact(&lists, RESERVE).unwrap()
    };
    let caches = reader.caches.iter().enumerate().map(compact).collect();
    let mut left = Reader::new(&data.model);
    left.caches = caches;
    left.read(&text[1 + N as usize..], |_, _| Ok(())).unwrap()
}

/// One story by every method, ratio by ratio.
fn story(data: &Data, template: &RepeatTemplate, text: &[u32]) -> Vec<Row> {
    let (mut reader, queries) = prefilled(data, text);
    let mut full = reader.clone();
    let after = &text[1 + N as usize..];
    let full = full.read(after, |_, _| Ok(())).unwrap();
    let mut all = Vec::new();
    for (name, chunk, denominator) in [
        ("KVzip", 2000, Denominator::Subset),
        ("KVzip, chunks of 64", 64, Denominator::Subset),
        ("KVzip, logits", 2000, Denominator::None),
    ] {
        let driver = Kvzip { chunk, denominator, ..Kvzip::new(template.clone(), 1.0) };
        let context = &text[1..1 + N as usize];
        let mut scorer = ReferenceScorer::default();
        let (scores, _) = driver.score(&mut reader, &mut scorer, 1, context).unwrap();
        assert_eq!(scores.nan(), 0);
        all.push((name, scores, Rule::Pair(PairRule::Exact), 0));
    }
    // Nothing goes, nothing moves; the story's own cost is told beside what evictions make of it.
    let everything = select(&all[0].1, &Eviction::new(1.0)).unwrap();
    let found = rest(data, &reader, &everything, text);
    assert_eq!(found, full);
    let mut own = Read::default();
    own.add(&full, &found, after);
    all.extend(baselines(&reader, &queries));
    let row = |(name, scores, rule, n_recent): (&'static str, Scores, Rule, u32)| {
        let mut reads = [Read::default(); RATIOS.len()];
        for (ratio, read) in RATIOS.into_iter().zip(&mut reads) {
            let eviction = Eviction { ratio, rule, n_sink: 0, n_recent };
            let selection = select(&scores, &eviction).unwrap();
            let found = rest(data, &reader, &selection, text);
            read.add(&full, &found, after);
        }
        (name, reads)
    };
    std::iter::once(("full cache", [own; RATIOS.len()])).chain(all.into_iter().map(row)).collect()
}

#[test]
fn the_rest_of_a_story_is_read_from_what_is_left() {
    let Some(data) = read("the_rest_of_a_story") else { return };
    let template = RepeatTemplate {
        first: data.tokenizer.encode(FIRST_INSTRUCTION),
        next: data.tokenizer.encode(NEXT_INSTRUCTION),
        turn: Vec::new(),
    };
    let long = data.texts.iter().filter(|text| text.len() > 2 + N as usize);
    let stories: Vec<Vec<Row>> = std::thread::scope(|scope| {
        let (data, template) = (&data, &template);
        let threads = long.map(|text| scope.spawn(move || story(data, template, text)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut rows = stories[0].clone();
    for story in &stories[1..] {
        for (row, more) in rows.iter_mut().zip(story) {
            row.1.iter_mut().zip(&more.1).for_each(|(read, more)| read.join(more));
        }
    }
    assert!(rows[0].1[0].tokens > 500.0, "{}", rows[0].1[0].tokens);
    let table = |what: &str, of: &dyn Fn(&Read) -> String| {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let ratios = RATIOS.iter().map(|ratio| ratio.to_string());
        table.set_header(std::iter::once(what.to_owned()).chain(ratios));
        for (name, reads) in &rows {
            table.add_row(std::iter::once((*name).to_owned()).chain(reads.iter().map(of)));
        }
        println!("{table}\n");
    };
    println!("{} tokens", rows[0].1[0].tokens);
    table("divergence, nats", &|read| format!("{:.4}", read.divergence / read.tokens));
    table("flips, %", &|read| format!("{:.1}", 100.0 * read.flips / read.tokens));
    table("nll, nats", &|read| format!("{:.4}", read.nll / read.tokens));

    // What the scores are for: less is lost than by chance, or by keeping what is newest.
    let of = |name: &str| rows.iter().find(|row| row.0 == name).unwrap().1;
    for (at, ratio) in RATIOS.into_iter().enumerate() {
        let divergence = |name| of(name)[at].divergence;
        assert!(
            divergence("KVzip") < divergence("random").min(divergence("sink + recent")),
            "{ratio}"
        );
    }
}
