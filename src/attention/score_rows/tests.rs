use super::reference::{image, number, score};
use super::*;
use crate::attention::KvElement;
use crate::attention::reference::Logits;
use crate::attention::sparse::Share;

fn spec(element: KvElement) -> ScoreRows {
    let shape = CacheShape::new(2, 128, element).unwrap();
    let lists = Lists {
        tokens: 1,
        heads: 2,
        group: 4,
        share: Share::Group,
        capacity: 256,
        sinks: 0,
        causal: true,
    };
    let map = RowMapShape { heads: 2, starts: 0, page_rows: 0, entries: 0 };
    ScoreRows {
        shape,
        tensor_rows: 2000,
        queries: DecodeQueries::new(&shape, 4),
        lists,
        scored: Scored::Seen { map, stride: 1000 },
        rows: 2000,
    }
}

#[test]
fn images_have_the_order_of_numbers() {
    let ordered =
        [f32::NEG_INFINITY, -1e30, -1.0, -1e-40, 0.0, 1e-40, 2.0, f32::INFINITY, f32::NAN];
    let images = ordered.map(image);
    assert!(images.is_sorted() && images[0] > 0, "{images:?}");
    assert_eq!(image(-0.0), image(0.0));
    assert_eq!(image(-f32::NAN), image(f32::NAN));
    assert!(number(image(f32::NAN)).is_nan());
    assert!(ordered[..8].iter().all(|x| number(image(*x)) == *x));
    let logits = Logits { scale: 0.5, softcap: None };
    let found = score(&logits, &[1.0, 2.0], &[3.0, 4.0]);
    assert!((found - 5.5 * std::f64::consts::LOG2_E).abs() < 1e-12, "{found}");
}

#[test]
fn largest_logits_take_a_launch_of_their_own() {
    let seen = spec(KvElement::F16);
    let listed = ScoreRows { scored: Scored::Listed, rows: 100, ..seen };
    let launches = |spec: ScoreRows| spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    let all = launches(seen);
    // Eight lanes of 128 keys of each head.
    assert_eq!([all[0].grid(), all[1].grid()], [[1, 1, 1], [16, 1, 1]]);
    assert_eq!(all[1].traffic().read_bytes, 2000 * 256 + 4 * 8 * 128);
    assert_eq!(all[1].traffic().write_bytes, 4 * 4 * 2000);
    let all = launches(listed);
    assert_eq!([all[0].grid(), all[1].grid()], [[4, 1, 1], [8, 1, 1]]);
    for spec in [seen, listed] {
        let int4 = ScoreRows { shape: CacheShape::new(2, 128, KvElement::Int4).unwrap(), ..spec };
        assert!(launches(int4).iter().all(|launch| launch.needs().storage_buffers <= 8));
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let good = spec(KvElement::F16);
    let refused =
        |spec: ScoreRows| spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err().to_string();
    let queries = DecodeQueries { group: 2, ..good.queries };
    assert!(refused(ScoreRows { queries, ..good }).contains("query heads"));
    let lists = Lists { tokens: 2, ..good.lists };
    assert!(refused(ScoreRows { lists, ..good }).contains("new tokens"));
    let Scored::Seen { map, stride } = good.scored else { unreachable!() };
    for (map, stride, what) in [
        (RowMapShape { heads: 3, ..map }, stride, "row map"),
        (RowMapShape { starts: 1, ..map }, stride, "starts of a window"),
        (map, 1001, "multiples of 4"),
        (map, 1 << 30, "scores of score_rows"),
    ] {
        let error = refused(ScoreRows { scored: Scored::Seen { map, stride }, ..good });
        assert!(error.contains(what), "{error}");
    }
    let knobs = Knobs { reduce: Some(crate::launch::Reduce::Subgroup), ..Knobs::DEFAULT };
    let error = good.launches(&Caps::webgpu(), &knobs).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}
