//! Sizes and refusals, on imaginary devices.

use super::*;

fn spec(rows: usize, cols: usize, k_chunk: usize) -> Compensate {
    let layout = ResidualLayout::new(rows, cols, ResidualElement::Int4).unwrap();
    Compensate::new(layout, Budget::new(cols, k_chunk).unwrap())
}

const OWN: Source = Source::Own { method: Method::ChunkRadix, weighted: false };

fn groups(spec: &Compensate, knobs: &Knobs) -> u32 {
    let launches = spec.launches(&Caps::webgpu(), knobs).unwrap();
    assert_eq!(launches.len(), 1);
    launches[0].grid().iter().product()
}

#[test]
fn no_channels_make_no_launch() {
    for (cols, k_chunk) in [(4096, 0), (576, 1)] {
        for source in [Source::List, OWN] {
            let spec = Compensate { source, ..spec(64, cols, k_chunk) };
            assert!(spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap().is_empty());
            let select = SelectChannels::new(spec.budget);
            assert!(select.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap().is_empty());
        }
    }
}

#[test]
fn rows_decide_how_many_workgroups_there_are() {
    let list = spec(28_672, 4096, 16);
    assert_eq!(groups(&list, &Knobs::DEFAULT), 112);
    let own = Compensate { source: OWN, ..list };
    assert_eq!(groups(&own, &Knobs::DEFAULT), 56);
    let rows = |rows| Knobs { rows: Some(rows), ..Knobs::DEFAULT };
    assert_eq!(groups(&own, &rows(256 * 14)), 8);
    assert_eq!(groups(&own, &rows(256 * 1000)), 1);
    for wrong in [0, 128, 257] {
        let error = own.launches(&Caps::webgpu(), &rows(wrong)).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
    }
}

#[test]
fn candidates_are_different_numbers_of_workgroups_the_default_first() {
    let spec = |rows| Compensate { source: OWN, ..spec(rows, 64, 1024) };
    let counts = |rows| -> Vec<u32> {
        let candidates = spec(rows).candidates(&Caps::webgpu());
        assert_eq!(candidates[0], Knobs::DEFAULT);
        candidates.iter().map(|knobs| groups(&spec(rows), knobs)).collect()
    };
    assert_eq!(counts(1), [1]);
    assert_eq!(counts(4096), [16, 1, 2, 3, 4, 6, 8]);
    // 112 segments: every number of workgroups that is what its own share of them takes.
    let even = (1..56).filter(|n| 112u32.div_ceil(112u32.div_ceil(*n)) == *n);
    assert_eq!(counts(28_672), std::iter::once(56).chain(even).collect::<Vec<_>>());
}

#[test]
fn selected_channels_are_what_has_to_move() {
    let list = spec(4000, 4096, 16);
    let traffic =
        |spec: &Compensate| spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap()[0].traffic();
    // Padded to 16 segments.
    let channels = 64 * 16 * 128;
    let found = traffic(&list);
    assert_eq!(found.read_bytes, channels + 2 * 4000 + 64 * 8);
    assert_eq!((found.write_bytes, found.flops), (16_000, 2 * 4000 * 64));
    let method = Method::Exact;
    let own = Compensate {
        source: Source::Own { method, weighted: true },
        activation: Activation::F16,
        output: Activation::F16,
        accumulate: true,
        ..list
    };
    assert_eq!(traffic(&own).read_bytes, channels + 2 * 4000 + 4096 * 4 + 2 * 4000);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let caps = Caps { max_binding_bytes: 1 << 20, ..Caps::webgpu() };
    match spec(4096, 4096, 1).launches(&caps, &Knobs::DEFAULT).unwrap_err() {
        Error::BindingTooLarge { what, bytes, limit } => {
            assert!(what.contains("every workgroup reads"), "{what}");
            assert_eq!((bytes, limit), (4096 * 4096 / 2, 1 << 20));
        }
        other => panic!("{other}"),
    }
    let other = Compensate { budget: Budget::new(63, 1024).unwrap(), ..spec(64, 64, 1024) };
    let error = other.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    let small = Caps { max_invocations: 128, ..Caps::webgpu() };
    let error = spec(64, 64, 1024).launches(&small, &Knobs::DEFAULT).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}
