use super::*;
use crate::attention::sparse::IndexMap;

fn spec() -> ComponentScores {
    let index = IndexMap::new(128, &[70_000, 100]).unwrap();
    ComponentScores {
        index: *index.shape(),
        lists: Lists {
            tokens: 1,
            heads: 2,
            group: 4,
            share: Share::Group,
            capacity: 1024,
            sinks: 4,
            causal: true,
        },
        components: 32,
        scale: 0.125,
        input: Activation::F16,
        tail: Tail::Mean,
        rows: 70_100,
    }
}

#[test]
fn the_largest_magnitudes_are_chosen_and_of_equal_ones_the_lower() {
    let q = [1.0, -3.0, 2.0, f32::NAN, 1.0, 1.0, -2.0, 0.0];
    let asked = Asked { q: &q, group: 2, scale: 1.0, keys: &[], sums: &[] };
    assert_eq!(choice(&asked, 1), [3]);
    // 2, 4, 4 and NaN.
    assert_eq!(choice(&asked, 2), [1, 3]);
    assert_eq!(choice(&asked, 3), [1, 2, 3]);
    assert_eq!(choice(&asked, 9), [0, 1, 2, 3]);
}

#[test]
fn weights_of_few_keys_are_expected_as_the_normal_distribution_has_them() {
    let (q, keys, sums) = ([2.0f32, 5.0], [1.0f32, 0.0, -1.0, 0.0], [0.0f32, 0.0, 2.0, 0.0]);
    let asked = Asked { q: &q, group: 1, scale: std::f64::consts::LN_2, keys: &keys, sums: &sums };
    assert_eq!(scores(&asked, &[0]), [[2.0, -2.0]]);
    // A variance of 1.
    let found = expected(&asked, &[0, 1])[0];
    assert!((found - 2.0 * std::f64::consts::LN_2).abs() < 1e-12, "{found}");
    let ranks = ranks(&[vec![3.0, f64::NAN], vec![1.0, 0.0]], &[1.0, -1.0]);
    assert_eq!(ranks[0], 3.0);
    assert!(ranks[1].is_nan());
}

#[test]
fn workgroups_follow_from_the_room() {
    let spec = spec();
    assert_eq!(spec.groups(), 69);
    let launch = &spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap()[0];
    assert_eq!(launch.grid(), [138, 1, 1]);
    // Four of f16 and one of ranks.
    assert_eq!(spec.scores_len(), 10 * u64::from(spec.index.most));
    assert_eq!(spec.unread_len(), 8);
    let traffic = launch.traffic();
    assert_eq!(traffic.read_bytes, 70_100 * 64 + 2 * 4 * 2 * 128);
    assert_eq!(traffic.write_bytes, 70_100 * 20 + 4 * spec.unread_len());
    let alone = Lists { share: Share::Query, ..spec.lists };
    let alone = ComponentScores { lists: alone, tail: Tail::None, ..spec };
    assert!(!alone.ranked() && !alone.reads_sums());
    assert_eq!((alone.scores_len(), alone.unread_len()), (8 * u64::from(spec.index.most), 0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let spec = spec();
    let refused = |spec: ComponentScores| {
        spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err().to_string()
    };
    for components in [0, 129] {
        let error = refused(ComponentScores { components, ..spec });
        assert!(error.contains("components of component_scores"), "{error}");
    }
    let lists = Lists { heads: 3, ..spec.lists };
    assert!(refused(ComponentScores { lists, ..spec }).contains("KV heads"));
    let lists = Lists { group: 17, ..spec.lists };
    assert!(refused(ComponentScores { lists, ..spec }).contains("query heads"));
    assert!(refused(ComponentScores { scale: f32::NAN, ..spec }).contains("scale"));
    let wide = *IndexMap::new(256, &[10, 10]).unwrap().shape();
    let lists = Lists { group: 16, ..spec.lists };
    let wide = ComponentScores { index: wide, lists, components: 129, ..spec };
    assert!(refused(wide).contains("1..=128"));
    let odd = *IndexMap::new(6, &[10, 10]).unwrap().shape();
    assert!(
        refused(ComponentScores { index: odd, components: 2, ..spec }).contains("multiples of 4")
    );
    let large = *IndexMap::new(128, &[1 << 22, 10]).unwrap().shape();
    assert!(refused(ComponentScores { index: large, ..spec }).contains("of an index"));
}
