use super::*;

const SPEC: ListPairs =
    ListPairs { n: 100, mask_rows: 8, first_row: 2, heads: 3, prefix: 4, appended: 2, rows: 50 };

#[test]
fn the_reference_keeps_what_is_around_the_context() {
    let keep = [true, false, true, false, false, false];
    let lists = reference(&keep, 3, 2, 1).unwrap();
    assert_eq!(lists.rows(), [0, 1, 2, 4, 5, 0, 1, 5]);
    assert_eq!(lists.first(), [0, 5, 8]);
    for (n, prefix) in [(3, u32::MAX), (usize::MAX, 2)] {
        let error = reference(&keep, n, prefix, 1).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
    }
}

#[test]
fn lists_fit_the_heads() {
    let launches = SPEC.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    assert_eq!(launches[0].grid(), [3, 1, 1]);
    assert_eq!(launches[0].traffic().write_bytes, 4 * (50 + 4));
    let refused = |spec: ListPairs| {
        let error = spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
        error.to_string()
    };
    assert!(refused(ListPairs { n: 0, ..SPEC }).contains("positions"));
    assert!(refused(ListPairs { heads: 0, ..SPEC }).contains("heads"));
    assert!(refused(ListPairs { first_row: 6, ..SPEC }).contains("9 is outside 0..=8"));
    assert!(refused(ListPairs { rows: 17, ..SPEC }).contains("18..=318"));
    assert!(refused(ListPairs { rows: 319, ..SPEC }).contains("18..=318"));
    assert!(
        refused(ListPairs { appended: u32::MAX, rows: u32::MAX, heads: 1, ..SPEC })
            .contains("rows")
    );
    let large = ListPairs { rows: 1 << 26, n: 1 << 26, ..SPEC };
    let error = large.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err().to_string();
    assert!(error.contains("lists of list_pairs"), "{error}");
}
