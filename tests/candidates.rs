//! The knobs that `gemv_bitplane` names for tuning, on imaginary devices: no adapter is needed.

use fewbytes::launch::{Caps, Dialect, Knobs, Launch, Reduce, Spec as _};
use fewbytes::linear::{
    Activation, Arithmetic, BitplaneLayout, BitplaneShape, GemvBitplane, TableElement,
};
use fewbytes::{Error, Result};
use std::collections::BTreeMap;

const WIDTHS: [u8; 7] = [2, 3, 4, 5, 6, 7, 8];

/// A device with f16 arithmetic, subgroups of 32 lanes and the limits of a discrete GPU.
fn rich() -> Caps {
    Caps {
        f16: true,
        subgroups: true,
        subgroup_min: 32,
        subgroup_max: 32,
        max_workgroup_bytes: 48 << 10,
        max_invocations: 1024,
        ..Caps::webgpu()
    }
}

/// Every kind of product that can be asked for, of few rows and of many.
fn specs(caps: &Caps) -> Vec<GemvBitplane> {
    let mut all = Vec::new();
    let tables = [TableElement::F16, TableElement::F32];
    for (rows, cols, table) in [(4096, 4096), (4097, 1056), (13, 99)]
        .into_iter()
        .flat_map(|(r, c)| tables.map(|t| (r, c, t)))
    {
        let shape = BitplaneShape { rows, cols, seed_bits: 2, parent_bits: 8 };
        let layout = BitplaneLayout::for_shape(shape, &WIDTHS, table, true, 8, caps).unwrap();
        for bits in WIDTHS {
            let spec = GemvBitplane::new(layout.clone(), bits);
            for activation in [Activation::F32, Activation::F16] {
                for batch in [1, 2, 5, 8] {
                    all.push(GemvBitplane { batch, activation, ..spec.clone() });
                }
            }
            let arithmetic = Arithmetic::F16;
            if bits <= 4 && table == TableElement::F16 && cols.is_multiple_of(32) && caps.f16 {
                all.push(GemvBitplane { activation: Activation::F16, arithmetic, ..spec });
            }
        }
    }
    all
}

/// What becomes of every candidate.
fn tried(spec: &GemvBitplane, caps: &Caps) -> Vec<(Knobs, Result<Vec<Launch>>)> {
    let with = |knobs: Knobs| (knobs, spec.launches(caps, &knobs));
    spec.candidates(caps).into_iter().map(with).collect()
}

#[test]
fn the_defaults_come_first_and_work() {
    for caps in [rich(), Caps::webgpu()] {
        for spec in specs(&caps) {
            let candidates = spec.candidates(&caps);
            assert_eq!(candidates.first(), Some(&Knobs::DEFAULT), "{spec:?}");
            spec.launches(&caps, &candidates[0]).unwrap();
        }
    }
}

#[test]
fn every_candidate_works_or_is_refused_with_words() {
    for caps in [rich(), Caps::webgpu()] {
        for spec in specs(&caps) {
            for (knobs, result) in tried(&spec, &caps) {
                match result {
                    Ok(launches) => {
                        assert!(!launches.is_empty());
                        for launch in launches {
                            launch.needs().check(launch.kernel(), &caps).unwrap();
                            assert!(launch.grid().iter().all(|n| (1..=65_535).contains(n)));
                        }
                    }
                    Err(Error::Unsupported { what, why }) => {
                        assert!(what.contains("gemv_bitplane") && !why.is_empty(), "{what}: {why}");
                    }
                    // Rows of few words are cut into few slices.
                    Err(Error::Range { what, .. }) => {
                        assert_eq!(what, "slices of gemv_bitplane");
                        assert!(knobs.slices > Some(spec.layout.words() as u32));
                    }
                    Err(other) => panic!("{knobs:?} of {spec:?}: {other}"),
                }
            }
        }
    }
}

#[test]
fn a_rich_device_has_much_to_choose_from_and_a_poor_one_something() {
    for (caps, least) in [(rich(), 20), (Caps::webgpu(), 10)] {
        for spec in specs(&caps) {
            let working = tried(&spec, &caps).iter().filter(|(_, result)| result.is_ok()).count();
            assert!(working >= least, "{working} of {spec:?}");
        }
    }
}

#[test]
fn a_poor_device_is_offered_no_subgroups() {
    for spec in specs(&Caps::webgpu()) {
        for (knobs, result) in tried(&spec, &Caps::webgpu()) {
            assert!(!matches!(knobs.reduce, Some(Reduce::Subgroup | Reduce::Scatter)));
            for launch in result.into_iter().flatten() {
                assert!(!launch.needs().subgroups && !launch.needs().f16);
            }
        }
    }
}

#[test]
fn no_two_candidates_are_one_thing() {
    for caps in [rich(), Caps::webgpu()] {
        for spec in specs(&caps) {
            let tried = tried(&spec, &caps);
            let working: Vec<_> =
                tried.iter().filter_map(|(knobs, r)| Some((knobs, r.as_ref().ok()?))).collect();
            for (at, (knobs, launches)) in working.iter().enumerate() {
                let twin = working[..at].iter().find(|(_, others)| others == launches);
                if let Some((other, _)) = twin {
                    panic!("{knobs:?} is the same as {other:?} for {spec:?}");
                }
            }
        }
    }
}

#[test]
fn the_shader_of_every_candidate_is_valid_and_declares_what_it_uses() {
    let mut shaders = BTreeMap::new();
    let caps = rich();
    // The other batches differ in one constant, the other tables in one part.
    let few = |spec: &GemvBitplane| {
        matches!(spec.batch, 1 | 5) && spec.layout.table() == TableElement::F16
    };
    for spec in specs(&caps).into_iter().filter(few) {
        for launch in tried(&spec, &caps).into_iter().filter_map(|(_, r)| r.ok()).flatten() {
            // The workgroup's size is an override: validated and sized by the first of each text.
            let text = (launch.wgsl(Dialect::Naga), launch.needs().workgroup_bytes);
            shaders.entry(text).or_insert(launch);
        }
    }
    println!("{} shaders", shaders.len());
    assert!(shaders.len() > 500);
    for launch in shaders.values() {
        let parsed = launch.parse().unwrap_or_else(|e| panic!("{}: {e}", launch.kernel()));
        assert_eq!(launch.needs().workgroup_bytes, parsed.workgroup_bytes());
    }
}
