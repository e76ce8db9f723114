//! Launch geometry and candidates of the kernels for weights in pairs, on imaginary devices.

use fewbytes::launch::{Caps, Knobs, Launch, Spec as _};
use fewbytes::linear::{
    Activation, DequantizeVector, GemvVector, TableElement, VectorLayout, VectorShape,
};

fn layout(rows: usize, cols: usize, code_bits: u8, caps: &Caps) -> VectorLayout {
    let shape = VectorShape { rows, cols, code_bits };
    VectorLayout::for_shape(shape, TableElement::F16, true, caps).unwrap()
}

fn params(launch: &Launch) -> Vec<u32> {
    launch.params().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn half_as_many_codes_as_columns_are_read() {
    let caps = Caps::webgpu();
    let spec = GemvVector::new(layout(4096, 4096, 4, &caps));
    let launches = spec.launches(&caps, &Knobs::default()).unwrap();
    let [launch] = launches.as_slice() else { panic!("{} launches", launches.len()) };
    assert_eq!((launch.kernel(), launch.variant()), ("gemv_vector", "baseline"));
    assert_eq!(launch.grid(), [1024, 1, 1]);
    assert_eq!(params(launch), [4096, 0, 0, 4096, 64, 4096 * 64, 4096, 1, 1, 64, 0, 0]);
    // Planes of 2 bits a weight, tables of 16 pairs, bias and x are read, y is written.
    let planes = launch.operands()[0];
    assert_eq!((planes.binding, planes.bytes), (1, 4096 * 4096 / 4));
    let traffic = launch.traffic();
    assert_eq!(traffic.read_bytes, 4096 * 4096 / 4 + 4096 * 64 + 4096 * 4 + 4096 * 4);
    assert_eq!((traffic.write_bytes, traffic.flops), (4096 * 4, 2 * 4096 * 4096));
}

#[test]
fn a_large_layer_is_cut_into_pieces_that_follow_each_other() {
    let caps = Caps { max_binding_bytes: 1 << 20, ..Caps::webgpu() };
    let spec = GemvVector::new(layout(9001, 1111, 6, &caps));
    let launches = spec.launches(&caps, &Knobs::default()).unwrap();
    assert!(launches.len() > 1);
    let mut next = 0;
    for (piece, launch) in launches.iter().enumerate() {
        let params = params(launch);
        assert_eq!(params[2], next);
        next += params[0];
        for operand in launch.operands() {
            assert!(operand.bytes <= 1 << 20);
            assert_eq!(operand.piece, if operand.binding < 3 { piece as u32 } else { 0 });
        }
    }
    assert_eq!(next, 9001);
    let dense = DequantizeVector { layout: spec.layout, element: Activation::F16 };
    let written = dense.launches(&caps, &Knobs::default()).unwrap();
    assert!(written.len() > launches.len());
    let bytes: u64 = written.iter().map(|launch| launch.traffic().write_bytes).sum();
    assert_eq!((bytes, bytes), (dense.dst_bytes(), 9001 * 1112 * 2));
}

#[test]
fn every_candidate_works_and_is_valid_and_no_two_are_one_thing() {
    let rich = Caps {
        f16: true,
        subgroups: true,
        subgroup_min: 32,
        subgroup_max: 32,
        max_workgroup_bytes: 48 << 10,
        max_invocations: 1024,
        ..Caps::webgpu()
    };
    for (caps, least) in [(Caps::webgpu(), 20), (rich, 50)] {
        for code_bits in [2, 6] {
            let spec = GemvVector::new(layout(4096, 1088, code_bits, &caps));
            let candidates = spec.candidates(&caps);
            assert_eq!(candidates.first(), Some(&Knobs::DEFAULT));
            let mut seen: Vec<Vec<Launch>> = Vec::new();
            for knobs in &candidates {
                let launches = spec.launches(&caps, knobs).unwrap();
                assert!(!seen.contains(&launches), "{knobs:?} is another one again");
                for launch in &launches {
                    let parsed = launch.parse().unwrap_or_else(|e| panic!("{knobs:?}: {e}"));
                    assert_eq!(parsed.workgroup_bytes(), launch.needs().workgroup_bytes);
                }
                seen.push(launches);
            }
            assert!(seen.len() >= least, "{}", seen.len());
        }
    }
}
