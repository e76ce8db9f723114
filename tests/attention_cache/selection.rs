//! Rows that stay are selected by scores on the device.

use super::{HEADS, layouts, numbers, shape};
use crate::device::open;
use fewbytes::Error;
use fewbytes::attention::select_pairs::{Cut, Segments, reference};
use fewbytes::attention::{KvCache, KvElement, Layout, SelectPairs, list_pairs};
use fewbytes_wgpu::ops::DeviceCache;
use fewbytes_wgpu::ops::select_pairs::{Around, Outputs, Selection};
use fewbytes_wgpu::{Context, Features, View};

const PREFIX: usize = 4;
const N: usize = 21;
const AFTER: usize = 5;

fn scores(spec: &SelectPairs) -> Vec<f32> {
    // Few different ones, so that many are equal.
    numbers(7, spec.rows(), spec.n).iter().take(spec.pairs()).map(|x| (3.0 * x).round()).collect()
}

fn uploaded(ctx: &Context, spec: &SelectPairs, scores: &[f32]) -> Vec<View> {
    let layer = spec.heads * spec.n;
    let piece = |layers: std::ops::Range<usize>| {
        let mut piece = vec![f32::NAN; spec.piece_len(layers.len())];
        for (at, own) in layers.enumerate() {
            piece[at * spec.stride..][..layer].copy_from_slice(&scores[own * layer..][..layer]);
        }
        ctx.upload(&piece).unwrap()
    };
    spec.pieces().map(piece).collect()
}

/// A cache a layer, of prefix, context and what follows.
fn caches(element: KvElement) -> Vec<KvCache> {
    let layer = |(at, layout): (usize, Layout)| {
        let mut cache = KvCache::new(layout).unwrap().with_positions().unwrap();
        let tokens = PREFIX + N + AFTER;
        let (keys, values) = (at as u64, at as u64 + 10);
        cache.append(&numbers(keys, tokens, 64), &numbers(values, tokens, 64)).unwrap();
        cache
    };
    let plain = |element| Layout::plain(shape(64, element), 64).unwrap();
    layouts(shape(64, element))
        .into_iter()
        .chain([plain(element)])
        .map(|layout| {
            // Segments that are full are laid out anew by whoever appends.
            let mut layout = layout;
            while layout.room() < 64 && layout.relayout().is_ok() {}
            layout
        })
        .enumerate()
        .map(layer)
        .collect()
}

fn check(ctx: &Context, spec: &SelectPairs, budgets: &[u32], element: KvElement) {
    let scores = scores(spec);
    let selected = reference(spec, &scores, budgets).unwrap();
    let selection = Selection::new(ctx, spec).unwrap();
    let views = uploaded(ctx, spec, &scores);
    let report = ctx.block_on(selection.select(ctx, &views, budgets)).unwrap();
    assert_eq!(*report, selected.report);
    let host = caches(element);
    // The last layer's heads are in two caches.
    let mut device: Vec<DeviceCache> = Vec::new();
    for (at, cache) in host.iter().enumerate() {
        let two = 2 * 64 * u64::from(cache.shape().row_words() as u32) * 4;
        let limit = if at + 1 == host.len() { two } else { u64::MAX };
        device.extend(DeviceCache::upload_groups(ctx, cache, limit).unwrap());
    }
    assert_eq!(device.len(), host.len() + 1);
    let around = Around { prefix: PREFIX as u32, reserve: 9 };
    selection.compact_all(ctx, &report, &mut device, around).unwrap();
    let mut found = device.iter().map(|cache| {
        let read = ctx.block_on(cache.read_back(ctx)).unwrap();
        (cache, read)
    });
    for (layer, cache) in host.iter().enumerate() {
        let keep = &selected.keep[layer * HEADS * N..][..HEADS * N];
        let lists = list_pairs::reference(keep, N, PREFIX as u32, AFTER as u32).unwrap();
        let expected = cache.compact(&lists, 9).unwrap();
        let mut head = 0;
        while head < HEADS {
            let (device, read) = found.next().unwrap();
            assert_eq!(device.first_head(), if layer + 1 == host.len() { head } else { 0 });
            for own in 0..read.shape().kv_heads() {
                assert_eq!(read.head(own).unwrap(), expected.head(head).unwrap());
                assert_eq!(read.head_positions(own), expected.head_positions(head));
                head += 1;
            }
            let next = cache.layout().next_position();
            assert_eq!((read.layout().next_position(), read.layout().appended()), (next, 0));
            assert_eq!(read.layout().room(), 9);
        }
    }
}

#[test]
fn what_the_best_scores_leave_is_as_in_host_memory() {
    let ctx = open(Features::Full);
    let model = SelectPairs { sink: 1, recent: 2, ..SelectPairs::new(4, HEADS, N) };
    let pairs = model.pairs() as u32;
    for (at, budget) in [pairs / 3, 4 * 3 * 3, pairs].into_iter().enumerate() {
        check(&ctx, &model, &[budget], KvElement::ALL[at]);
    }
    let layers = SelectPairs { segments: Segments::Layers, piece_layers: 3, stride: 128, ..model };
    check(&ctx, &layers, &[20, 63, 9, 30], KvElement::Int8);
    let heads = SelectPairs { segments: Segments::Heads, cut: Cut::RefStrict, ..layers };
    check(&ctx, &heads, &[7; 12], KvElement::Int4);
}

#[test]
fn nothing_kept_and_no_context_are_fine() {
    let ctx = open(Features::Full);
    let layout = Layout::plain(shape(64, KvElement::F16), 64).unwrap();
    let mut host = KvCache::new(layout).unwrap();
    host.append(&numbers(1, N, 64), &numbers(2, N, 64)).unwrap();
    let around = Around { prefix: 0, reserve: 16 };
    let spec = SelectPairs::new(1, HEADS, N);
    let selection = Selection::new(&ctx, &spec).unwrap();
    let views = uploaded(&ctx, &spec, &scores(&spec));
    let report = ctx.block_on(selection.select(&ctx, &views, &[0])).unwrap();
    let cache = DeviceCache::upload(&ctx, &host).unwrap();
    let small = selection.compact(&ctx, &report, 0, &cache, around).unwrap();
    assert_eq!(small.layout().lengths(), [0; HEADS]);
    assert_eq!(small.layout().next_position(), N as u32);
    // Budgets are given again without planning again.
    let report = ctx.block_on(selection.select(&ctx, &views, &[10])).unwrap();
    assert_eq!(report.pairs(), 10);

    let spec = SelectPairs::new(1, HEADS, 0);
    let selection = Selection::new(&ctx, &spec).unwrap();
    let empty = ctx.alloc::<f32>(0).unwrap();
    let report = ctx.block_on(selection.select(&ctx, &[empty], &[0])).unwrap();
    assert_eq!((report.pairs(), report.segments[0].threshold), (0, None));
    let around = Around { prefix: 2, ..around };
    let whole = selection.compact(&ctx, &report, 0, &cache, around).unwrap();
    let read = ctx.block_on(whole.read_back(&ctx)).unwrap();
    for head in 0..HEADS {
        assert_eq!(read.head(head).unwrap(), host.head(head).unwrap());
    }
}

#[test]
fn what_does_not_go_together_is_refused_with_words() {
    let ctx = open(Features::Full);
    let spec = SelectPairs { sink: 2, ..SelectPairs::new(1, HEADS, N) };
    let selection = Selection::new(&ctx, &spec).unwrap();
    let views = uploaded(&ctx, &spec, &scores(&spec));
    let select = |views: &[View], budgets: &[u32]| {
        ctx.block_on(selection.select(&ctx, views, budgets)).unwrap_err().to_string()
    };
    assert!(select(&views, &[64]).contains("= 64 is outside 6..=63"));
    assert!(select(&views, &[5]).contains("= 5 is outside 6..=63"));
    assert!(select(&views, &[6, 6]).contains("budgets of select_pairs: expected 1, found 2"));
    assert!(select(&[], &[6]).contains("pieces of scores"));
    let short = [ctx.alloc::<f32>(9).unwrap()];
    assert!(select(&short, &[6]).contains("a piece of scores: expected 63, found 9"));
    let words = [ctx.alloc::<u32>(63).unwrap()];
    assert!(select(&words, &[6]).contains("expected F32"));

    let report = ctx.block_on(selection.select(&ctx, &views, &[20])).unwrap();
    let around = Around { prefix: 3, reserve: 16 };
    let of = |rows: usize| {
        let layout = Layout::plain(shape(64, KvElement::F16), 64).unwrap();
        let mut host = KvCache::new(layout).unwrap();
        host.append(&numbers(1, rows, 64), &numbers(2, rows, 64)).unwrap();
        DeviceCache::upload(&ctx, &host).unwrap()
    };
    let cache = of(24);
    let refused = |cache: &DeviceCache, first_row, around| {
        let error = selection.compact(&ctx, &report, first_row, cache, around).unwrap_err();
        error.to_string()
    };
    assert!(refused(&cache, 1, around).contains("= 4 is outside 0..=3"));
    assert!(refused(&of(23), 0, around).contains("= 23 is outside 24.."));
    assert!(refused(&cache, 0, Around { prefix: u32::MAX, ..around }).contains("is outside"));
    assert!(refused(&cache, 0, Around { reserve: 0, ..around }).contains("reserve"));
    let small = selection.compact(&ctx, &report, 0, &cache, around).unwrap();
    assert!(refused(&small, 0, around).contains("none evicted"));
    let mut two = [of(24), of(24)];
    let error = selection.compact_all(&ctx, &report, &mut two, around).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");

    let mask = ctx.alloc::<u32>(1).unwrap();
    let outputs = Outputs { mask, ..selection.outputs().clone() };
    let plan = fewbytes_wgpu::ops::select_pairs::plan(&ctx, &spec, &fewbytes::Knobs::DEFAULT);
    let budgets = ctx.upload(&[20u32]).unwrap();
    let error = plan.unwrap().bind(&views, &budgets, &outputs, None).err().unwrap().to_string();
    assert!(error.contains("mask of kept pairs"), "{error}");
}

#[test]
fn caches_are_whole_where_one_of_them_is_refused() {
    let ctx = open(Features::Full);
    let spec = SelectPairs::new(2, HEADS, N);
    let selection = Selection::new(&ctx, &spec).unwrap();
    let views = uploaded(&ctx, &spec, &scores(&spec));
    let report = ctx.block_on(selection.select(&ctx, &views, &[20])).unwrap();
    let around = Around { prefix: 3, reserve: 16 };
    let hosts = [24, 23, 24].map(|rows| {
        let layout = Layout::plain(shape(64, KvElement::F16), 64).unwrap();
        let mut host = KvCache::new(layout).unwrap();
        host.append(&numbers(1, rows, 64), &numbers(2, rows, 64)).unwrap();
        host
    });
    let [first, short, second] =
        hosts.each_ref().map(|host| DeviceCache::upload(&ctx, host).unwrap());
    let mut caches = [first, short];
    let error = selection.compact_all(&ctx, &report, &mut caches, around).unwrap_err();
    assert!(matches!(&error, Error::Layer { layer, .. } if layer == "1"), "{error}");
    let reserve = Around { reserve: 0, ..around };
    assert!(selection.compact_all(&ctx, &report, &mut caches, reserve).is_err());
    for (cache, host) in caches.iter().zip(&hosts) {
        assert!(ctx.block_on(cache.read_back(&ctx)).unwrap() == *host);
    }
    caches[1] = second;
    selection.compact_all(&ctx, &report, &mut caches, around).unwrap();
    let left: u32 = caches.iter().flat_map(|cache| cache.layout().lengths()).sum();
    assert_eq!(left, 20 + 2 * 3 * HEADS as u32);
}

#[test]
fn a_report_of_another_selection_is_refused() {
    let ctx = open(Features::Full);
    let spec = SelectPairs::new(1, HEADS, N);
    let [selection, other] = [0, 1].map(|_| Selection::new(&ctx, &spec).unwrap());
    let views = uploaded(&ctx, &spec, &scores(&spec));
    let select = |of: &Selection, budget| ctx.block_on(of.select(&ctx, &views, &[budget]));
    let layout = Layout::plain(shape(64, KvElement::F16), 64).unwrap();
    let mut host = KvCache::new(layout).unwrap();
    host.append(&numbers(1, N, 64), &numbers(2, N, 64)).unwrap();
    let cache = DeviceCache::upload(&ctx, &host).unwrap();
    let around = Around { prefix: 0, reserve: 16 };

    let first = select(&selection, 10).unwrap();
    selection.compact(&ctx, &first, 0, &cache, around).unwrap();
    // What is refused selects nothing.
    assert!(select(&selection, 64).is_err());
    selection.compact(&ctx, &first, 0, &cache, around).unwrap();
    let second = select(&selection, 20).unwrap();
    let others = select(&other, 20).unwrap();
    for stale in [&first, &others] {
        let said = format!("expected {}, found {}", second.number(), stale.number());
        let errors = [
            selection.compact(&ctx, stale, 0, &cache, around).err().unwrap(),
            selection.compact_all(&ctx, stale, &mut [], around).err().unwrap(),
            ctx.block_on(selection.kept(&ctx, stale)).err().unwrap(),
        ];
        for error in errors {
            assert!(error.to_string().contains(&said), "{error}");
        }
    }
    let small = selection.compact(&ctx, &second, 0, &cache, around).unwrap();
    assert_eq!(small.layout().lengths().iter().sum::<u32>(), 20);
    // As many pairs again, others perhaps: who records reads anew.
    let bound = selection.bind(&views).unwrap();
    ctx.submit(|pass| bound.record(pass)).unwrap();
    let third = ctx.block_on(selection.report(&ctx)).unwrap();
    assert_eq!(*third, *second);
    assert!(selection.compact(&ctx, &second, 0, &cache, around).is_err());
    selection.compact(&ctx, &third, 0, &cache, around).unwrap();
}
