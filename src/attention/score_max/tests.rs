use super::*;
use crate::attention::{KvElement, ScoreLse};

fn spec(denominator: Denominator) -> ScoreMax {
    let shape = CacheShape::new(2, 128, KvElement::Int4).unwrap();
    let mut layout = Layout::ragged(shape, &[300, 300], 64, 300).unwrap();
    layout.append(40).unwrap();
    let map = RowMap::new(&layout, &[]).unwrap();
    let queries = DecodeQueries { q_len: 40, ..DecodeQueries::new(layout.shape(), 8) };
    let spans = KeySpans { sink: 10, first: 100, rows: 150 };
    let place =
        ScorePlace { layers: 3, heads: 5, positions: 1000, layer: 2, first_head: 3, position: 90 };
    ScoreMax::new(queries, &layout, &map, (spans, denominator), place).unwrap()
}

fn refused(spec: ScoreMax) -> Error {
    MaxAttention(spec).launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err()
}

#[test]
fn everything_that_may_be_bound_fits_a_baseline_device() {
    let slices = |slices| Knobs { slices: Some(slices), ..Knobs::DEFAULT };
    for (denominator, kernels) in [
        (Denominator::Subset, &["score_lse", "score_max", "score_merge"][..]),
        (Denominator::Full, &["score_max", "score_merge"][..]),
        (Denominator::None, &["score_max", "score_merge"][..]),
    ] {
        let spec = MaxAttention(spec(denominator));
        assert_eq!(spec.takes_lse(), denominator == Denominator::Full);
        let launches = spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
        let names: Vec<_> = launches.iter().map(Launch::kernel).collect();
        assert_eq!(names, kernels);
        assert!(launches.iter().all(|launch| launch.needs().storage_buffers <= 8));
        // Five tiles of query rows: two slices. One gives the same by one kernel less.
        let whole = spec.launches(&Caps::webgpu(), &slices(1)).unwrap();
        assert_eq!(whole.len() + 1, launches.len());
    }
    let launches =
        MaxAttention(spec(Denominator::Subset)).launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    // Sums of 640 rows, then two slices of 300 bests.
    let part = |binding, offset, bytes| Scratch { binding, offset, bytes };
    assert_eq!(launches[0].scratch(), [part(LSE, 0, 2560)]);
    assert_eq!(launches[1].scratch(), [part(PARTS, 0, 2560 + 2400)]);
    assert_eq!(launches[2].scratch(), [part(PARTS, 2560, 2400)]);
    assert_eq!(launches[1].grid(), [2 * 3 * 2, 1, 1]);
    // Score 13 x 1000 + 90 is byte 52,360, of which the last 136 are behind a multiple of 256.
    let score = launches[2].operands()[0];
    assert_eq!((score.offset, score.bytes), (52_224, 136 + 4000 + 600));
    let flops = launches[0].traffic().flops;
    assert_eq!(flops, 2 * 128 * 8 * 2 * (40 * 160 + 40 * 41 / 2));
    assert_eq!(launches[1].traffic().flops, 2 * 128 * 8 * 2 * 40 * 150);
}

#[test]
fn what_does_not_fit_is_refused() {
    let good = spec(Denominator::Subset);
    let place = good.place;
    for place in [
        ScorePlace { layer: 3, ..place },
        ScorePlace { first_head: 4, ..place },
        ScorePlace { position: 851, ..place },
        ScorePlace { position: usize::MAX, ..place },
        ScorePlace { layers: usize::MAX, heads: usize::MAX, ..place },
    ] {
        let error = refused(ScoreMax { place, ..good });
        assert!(error.to_string().contains("scores"), "{error}");
    }
    let queries = DecodeQueries { q_len: 0, ..good.queries };
    assert!(refused(ScoreMax { queries, ..good }).to_string().contains("queries of a scoring"));
    let spans = KeySpans { first: 800, ..good.spans };
    assert!(refused(ScoreMax { spans, ..good }).to_string().contains("chunk to score"));
    let map = RowMapShape { starts: 40, ..good.map };
    assert!(refused(ScoreMax { map, ..good }).to_string().contains("starts of a window"));
    let none = ScoreMax { spans: KeySpans { rows: 0, ..good.spans }, ..good };
    assert!(MaxAttention(none).launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap().is_empty());
    for slices in [0, 6] {
        let knobs = Knobs { slices: Some(slices), ..Knobs::DEFAULT };
        let error = good.launches(&Caps::webgpu(), &knobs).unwrap_err();
        assert!(error.to_string().contains("slices of score_max"), "{error}");
    }
}

#[test]
fn spans_lie_within_every_head_and_apart() {
    let shape = CacheShape::new(2, 64, KvElement::F16).unwrap();
    let mut layout = Layout::ragged(shape, &[100, 90], 64, 100).unwrap();
    layout.append(20).unwrap();
    let map = RowMap::new(&layout, &[]).unwrap();
    let queries = DecodeQueries { q_len: 20, ..DecodeQueries::new(&shape, 1) };
    let new = |sink, first, rows| {
        ScoreLse::new(queries, &layout, &map, KeySpans { sink, first, rows }).map(drop)
    };
    new(10, 10, 80).unwrap();
    new(0, 90, 0).unwrap();
    for (sink, first, rows) in [(11, 10, 5), (10, 10, 81), (0, 91, 0), (0, 1, u32::MAX)] {
        let error = new(sink, first, rows).unwrap_err();
        assert!(error.to_string().contains("chunk to score of head"), "{error}");
    }
    let queries = DecodeQueries { q_len: 111, ..queries };
    let spans = KeySpans { sink: 0, first: 0, rows: 0 };
    let error = ScoreLse::new(queries, &layout, &map, spans).unwrap_err();
    assert!(error.to_string().contains("new rows of head 1"), "{error}");
}
