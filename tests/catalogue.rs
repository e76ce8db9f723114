//! Every shader text that the case table can produce, through both front ends.
//!
//! naga runs in this process; it also writes SPIR-V, MSL and HLSL. tint, or another reader of
//! standard WGSL, is a program named by `FEWBYTES_TINT`: its words are separated by newlines, and
//! the paths of the shaders are appended. `cargo xtask ci` sets it; without it the one test that
//! needs it says so and fails.

use fewbytes::launch::{Access, Caps, Dialect, Launch, MatrixShape, Reduce, Target};
use fewbytes::proof::cases;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// One launch for each pipeline key, over devices with everything and with nothing.
fn catalogue() -> BTreeMap<u64, Launch> {
    let rich = Caps {
        f16: true,
        subgroups: true,
        subgroup_min: 4,
        subgroup_max: 128,
        max_workgroup_bytes: 48 << 10,
        max_invocations: 1024,
        ..Caps::webgpu()
    };
    // Only what the others do not have: a case takes time to build.
    let matrices = Caps {
        subgroup_min: 32,
        subgroup_max: 32,
        matrices: vec![MatrixShape::HALVES],
        ..rich.clone()
    };
    let mut launches = BTreeMap::new();
    for caps in [Caps::webgpu(), rich, matrices] {
        for case in cases() {
            // Lanes that share a row of a cache are more than the smallest subgroup above, and ballots need
            // subgroups of one size.
            let shares = ["decode_split", "score_rows", "select_pairs"].contains(&case.kernel());
            let wanted = |variant: &str| {
                let only = variant.starts_with("matrix") || (shares && variant == "subgroup");
                !caps.has_matrices() || only
            };
            let variants = case.variants(&caps).into_iter();
            for (variant, knobs) in variants.filter(|(variant, _)| wanted(variant)) {
                let proof = case.build(&caps, &knobs);
                let proof = proof.unwrap_or_else(|e| panic!("{} {variant}: {e}", case.name()));
                for launch in proof.launches {
                    launches.entry(launch.key()).or_insert(launch);
                }
            }
        }
    }
    launches
}

#[test]
fn naga_accepts_every_shader_and_writes_it_for_every_platform() {
    for launch in catalogue().values() {
        let parsed = launch.parse().unwrap_or_else(|e| panic!("{}: {e}", launch.kernel()));
        for target in Target::ALL {
            if let Some(why) = target.obstacle(launch.needs()) {
                let error = parsed.translate(target).unwrap_err().to_string();
                assert!(error.contains(why), "{error}");
                assert_eq!(target, Target::Hlsl, "{why}");
                continue;
            }
            let text = parsed.translate(target);
            let text = text.unwrap_or_else(|e| panic!("{}: {e}", launch.kernel()));
            assert!(!text.is_empty());
        }
    }
}

#[test]
fn cooperative_matrices_are_in_the_catalogue_and_enabled_for_naga_alone() {
    let all = catalogue();
    let variants: BTreeSet<_> =
        all.values().filter(|l| l.needs().matrix).map(|l| (l.kernel(), l.variant())).collect();
    for expected in [
        ("gemm", "matrix"),
        ("gemm_bitplane", "matrix"),
        ("gemm_bitplane", "matrix half"),
        ("prefill", "matrix"),
        ("score_lse", "matrix"),
        ("score_max", "matrix"),
    ] {
        assert!(variants.contains(&expected), "{variants:?}");
    }
    for launch in all.values() {
        let word = "enable wgpu_cooperative_matrix;";
        assert_eq!(launch.wgsl(Dialect::Naga).contains(word), launch.needs().matrix);
        assert!(!launch.wgsl(Dialect::Standard).contains(word));
        assert_eq!(Dialect::Naga.obstacle(launch.needs()), None);
        assert_eq!(Dialect::Standard.obstacle(launch.needs()).is_some(), launch.needs().matrix);
        assert!(launch.needs().matrix == launch.variant().starts_with("matrix"));
    }
}

#[test]
fn declared_bindings_are_those_of_the_shader() {
    for launch in catalogue().values() {
        let declared: Vec<_> =
            launch.bindings().iter().map(|b| (b.number, b.name.to_owned(), b.access)).collect();
        let shader = launch.parse().unwrap().bindings();
        assert_eq!(declared, shader, "{} {}", launch.kernel(), launch.variant());
        let storage = shader.iter().filter(|(.., access)| *access != Access::Uniform).count();
        assert_eq!(launch.needs().storage_buffers as usize, storage);
    }
}

#[test]
fn declared_workgroup_memory_is_that_of_the_shader() {
    for launch in catalogue().values() {
        let bytes = launch.parse().unwrap().workgroup_bytes();
        assert_eq!(launch.needs().workgroup_bytes, bytes, "{}", launch.kernel());
    }
}

#[test]
fn baseline_variants_fit_the_default_limits_of_webgpu() {
    let mut seen = 0;
    for case in cases() {
        for (variant, knobs) in case.variants(&Caps::webgpu()) {
            assert_eq!(knobs.reduce, Some(Reduce::Workgroup), "{variant}");
            for launch in case.build(&Caps::webgpu(), &knobs).unwrap().launches {
                launch.needs().check(launch.kernel(), &Caps::webgpu()).unwrap();
                assert!(!launch.needs().f16 && !launch.needs().subgroups);
                assert!(launch.grid().iter().all(|&n| n <= 65_535));
                seen += 1;
            }
        }
    }
    assert!(seen > 100);
}

#[test]
fn no_case_accepts_outputs_that_nobody_wrote() {
    for case in cases() {
        for (variant, knobs) in case.variants(&Caps::webgpu()) {
            let proof = case.build(&Caps::webgpu(), &knobs).unwrap();
            assert!(!proof.outputs.is_empty());
            for output in &proof.outputs {
                let untouched = proof.tensors.iter().find(|t| t.binding == output.binding);
                let verdict = output.verify(&untouched.unwrap().pieces);
                assert!(verdict.is_err(), "{} {variant}", case.name());
            }
        }
    }
}

#[test]
fn kernel_and_entry_point_have_one_name() {
    for launch in catalogue().values() {
        assert_eq!(launch.kernel(), launch.shader().entry());
        let file = format!("/{}.wgsl", launch.kernel());
        assert!(launch.shader().parts().last().unwrap().name.ends_with(&file));
    }
}

#[test]
fn tint_accepts_every_shader() {
    let program = std::env::var("FEWBYTES_TINT").expect(
        "FEWBYTES_TINT names no reader of standard WGSL: run `cargo xtask test`, which provides one",
    );
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = catalogue()
        .iter()
        // Each left out for a reason that names a missing extension.
        .filter(|(_, launch)| Dialect::Standard.obstacle(launch.needs()).is_none())
        .map(|(key, launch)| {
            let path = folder.path().join(format!("{}_{key:016x}.wgsl", launch.kernel()));
            std::fs::write(&path, launch.wgsl(Dialect::Standard)).unwrap();
            path
        })
        .collect();
    assert!(files.len() > 20);
    let mut words = program.lines();
    let output = Command::new(words.next().unwrap()).args(words).args(&files).output().unwrap();
    let said = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    assert!(output.status.success(), "{}", said.concat());
}
