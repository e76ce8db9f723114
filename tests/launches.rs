//! Launch geometry for imaginary devices: no adapter is needed.

use fewbytes::launch::{Caps, Dialect, Knobs, Launch, Reduce, Spec as _, Traffic};
use fewbytes::linear::gemv_bitplane::{X, Y};
use fewbytes::linear::{
    Activation, BitplaneLayout, BitplaneShape, DequantizeBitplane, GemvBitplane, HessianLayout,
    HessianUpdate, TableElement,
};
use fewbytes::{Error, Result};

const ALL: [u8; 7] = [2, 3, 4, 5, 6, 7, 8];

fn layout(rows: usize, cols: usize, caps: &Caps) -> Result<BitplaneLayout> {
    let shape = BitplaneShape { rows, cols, seed_bits: 2, parent_bits: 8 };
    BitplaneLayout::for_shape(shape, &ALL, TableElement::F16, true, 8, caps)
}

fn gemv(rows: usize, cols: usize, bits: u8, caps: &Caps) -> Vec<Launch> {
    let layout = layout(rows, cols, caps).unwrap();
    GemvBitplane::new(layout, bits).launches(caps, &Knobs::default()).unwrap()
}

/// A device that can bind 4 GiB, as large GPUs can.
fn large() -> Caps {
    Caps { max_binding_bytes: 1 << 32, max_buffer_bytes: 1 << 32, ..Caps::webgpu() }
}

fn params(launch: &Launch) -> Vec<u32> {
    launch.params().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn a_layer_is_one_launch_where_it_fits() {
    let launches = gemv(4096, 4096, 4, &large());
    let [launch] = launches.as_slice() else { panic!("{} launches", launches.len()) };
    assert_eq!((launch.kernel(), launch.variant()), ("gemv_bitplane", "baseline"));
    assert_eq!(launch.grid(), [2048, 1, 1]);
    assert_eq!(params(launch), [4096, 0, 0, 4096, 128, 4096 * 128, 4096, 1, 1, 128, 0, 0]);
    let planes = launch.operands()[0];
    assert_eq!((planes.binding, planes.bytes), (1, 4 * 4096 * 512));
    // Planes, tables, bias and x are read, y is written.
    let traffic = launch.traffic();
    assert_eq!(traffic.read_bytes, 4 * 4096 * 512 + 4096 * 32 + 4096 * 4 + 4096 * 4);
    assert_eq!((traffic.write_bytes, traffic.flops), (4096 * 4, 2 * 4096 * 4096));
}

#[test]
fn fewer_bits_bind_a_prefix_of_the_same_planes() {
    let sizes: Vec<u64> =
        ALL.iter().map(|&bits| gemv(512, 1024, bits, &large())[0].operands()[0].bytes).collect();
    let one = sizes[0] / 2;
    assert_eq!(sizes, ALL.map(|bits| u64::from(bits) * one));
    let offsets: Vec<u64> =
        ALL.iter().map(|&bits| gemv(512, 1024, bits, &large())[0].operands()[1].offset).collect();
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "{offsets:?}");
    assert!(offsets.iter().all(|offset| offset % 256 == 0));
}

#[test]
fn a_235_megabyte_layer_is_cut_where_bindings_end_at_128_mebibytes() {
    // 28672 x 8192 at 8 bits, the largest shape of the paper's figures.
    assert_eq!(gemv(28_672, 8192, 8, &large()).len(), 1);
    let launches = gemv(28_672, 8192, 8, &Caps::webgpu());
    assert!(launches.len() > 1);
    let mut next = 0;
    for (piece, launch) in launches.iter().enumerate() {
        let params = params(launch);
        assert_eq!(params[2], next, "pieces follow each other");
        next += params[0];
        for operand in launch.operands() {
            assert!(operand.bytes <= 128 << 20);
            let piece = if operand.binding < 3 { piece as u32 } else { 0 };
            assert_eq!(operand.piece, piece);
        }
    }
    assert_eq!(next, 28_672);
    let traffic = |launches: &[Launch]| launches.iter().map(Launch::traffic).sum::<Traffic>();
    let whole = traffic(&launches);
    assert_eq!(whole.flops, 2 * 28_672 * 8192);
    // x is the same for every piece.
    assert_eq!(whole, traffic(&gemv(28_672, 8192, 8, &large())));
}

#[test]
fn more_than_65535_workgroups_take_a_second_dimension() {
    // Two rows a workgroup.
    let [x, y, z] = gemv(400_003, 32, 2, &large())[0].grid();
    assert_eq!(z, 1);
    assert!(x <= 65_535 && y == 4);
    assert!(u64::from(x) * u64::from(y) * 2 >= 400_003);
}

#[test]
fn dense_output_is_cut_at_the_binding_limit_too() {
    // Rows of 64 KiB: 2048 of them fill 128 MiB, and every slice starts 256-aligned.
    let caps = Caps { max_buffer_bytes: 1 << 31, ..Caps::webgpu() };
    let layout = layout(6000, 16_384, &caps).unwrap();
    for (element, bytes) in [(Activation::F32, 4u64), (Activation::F16, 2)] {
        let spec = DequantizeBitplane { layout: layout.clone(), bits: 4, element };
        let launches = spec.launches(&caps, &Knobs::baseline()).unwrap();
        let mut end = 0;
        for launch in &launches {
            let dst = launch.operands()[2];
            assert_eq!(dst.offset, end);
            assert_eq!(dst.offset % 256, 0);
            assert!(dst.bytes <= 128 << 20);
            end += dst.bytes;
        }
        assert_eq!(end, 6000 * 16_384 * bytes);
        assert_eq!(end, spec.dst_bytes());
    }
}

#[test]
fn a_key_names_what_is_compiled_and_nothing_else() {
    let key = |rows, cols, bits| gemv(rows, cols, bits, &large())[0].key();
    assert_eq!(key(64, 64, 4), key(4096, 11_008, 4), "shapes are parameters");
    assert_ne!(key(64, 64, 4), key(64, 64, 5));
    assert_ne!(key(64, 64, 4), key(64, 65, 4), "other columns load activations one by one");
    let spec = GemvBitplane::new(layout(64, 64, &large()).unwrap(), 4);
    let with = |knobs: Knobs| spec.launches(&large(), &knobs).unwrap()[0].key();
    assert_ne!(with(Knobs::default()), with(Knobs { workgroup: Some(128), ..Knobs::default() }));
    assert_ne!(with(Knobs::default()), with(Knobs { rows: Some(8), ..Knobs::default() }));
    let f16 = GemvBitplane { activation: Activation::F16, ..spec.clone() };
    assert_ne!(with(Knobs::default()), f16.launches(&large(), &Knobs::default()).unwrap()[0].key());
}

#[test]
fn a_tuning_key_tells_apart_what_may_run_at_another_speed() {
    let key = |spec: &GemvBitplane, caps: &Caps| spec.tuning_key(caps).unwrap();
    let spec = GemvBitplane::new(layout(512, 1024, &large()).unwrap(), 4);
    let own = key(&spec, &large());
    assert!(own.starts_with("gemv_bitplane-"), "{own}");
    assert_eq!(own, key(&spec.clone(), &large()));
    let others = [
        key(&GemvBitplane { bits: 5, ..spec.clone() }, &large()),
        key(&GemvBitplane { bias: false, ..spec.clone() }, &large()),
        key(&GemvBitplane { activation: Activation::F16, ..spec.clone() }, &large()),
        key(&GemvBitplane { batch: 8, ..spec.clone() }, &large()),
        key(&GemvBitplane::new(layout(513, 1024, &large()).unwrap(), 4), &large()),
        key(&GemvBitplane::new(layout(512, 1056, &large()).unwrap(), 4), &large()),
        key(&spec, &Caps { subgroups: true, ..large() }),
        DequantizeBitplane { layout: spec.layout.clone(), bits: 4, element: Activation::F32 }
            .tuning_key(&large())
            .unwrap(),
    ];
    for (number, other) in others.iter().enumerate() {
        assert!(*other != own && !others[..number].contains(other), "{number}: {other}");
    }
    assert!(GemvBitplane { batch: 9, ..spec }.tuning_key(&large()).is_err());
}

#[test]
fn subgroups_are_used_where_they_are_and_refused_where_they_are_not() {
    let with = Caps { subgroups: true, subgroup_min: 32, subgroup_max: 32, ..large() };
    let spec = GemvBitplane::new(layout(64, 64, &with).unwrap(), 4);
    let launch = &spec.launches(&with, &Knobs::default()).unwrap()[0];
    assert_eq!(launch.variant(), "subgroup");
    assert!(launch.wgsl(Dialect::Standard).starts_with("enable subgroups;\n"));
    assert!(!launch.wgsl(Dialect::Naga).contains("enable"));
    assert_eq!(spec.launches(&with, &Knobs::baseline()).unwrap()[0].variant(), "baseline");
    let asked = Knobs { reduce: Some(Reduce::Subgroup), ..Knobs::default() };
    let refused = spec.launches(&Caps::webgpu(), &asked).unwrap_err();
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
}

#[test]
fn a_vector_too_large_for_a_binding_is_an_error_and_not_a_panic() {
    let caps = Caps { max_binding_bytes: 4096, ..large() };
    let error = layout(4, 1 << 20, &caps).unwrap_err();
    assert!(matches!(error, Error::BindingTooLarge { .. }), "{error}");
    // One row of 2 bits fits, its activations do not.
    let shape = BitplaneShape { rows: 1, cols: 8192, seed_bits: 2, parent_bits: 2 };
    let layout = BitplaneLayout::for_shape(shape, &[2], TableElement::F16, false, 2, &caps);
    let error = GemvBitplane::new(layout.unwrap(), 2).launches(&caps, &Knobs::default());
    match error.unwrap_err() {
        Error::BindingTooLarge { what, bytes, limit } => {
            assert_eq!((what.as_str(), bytes, limit), ("x", 32_768, 4096));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn no_vectors_make_no_launches() {
    let spec = GemvBitplane { batch: 0, ..GemvBitplane::new(layout(8, 8, &large()).unwrap(), 3) };
    assert!(spec.launches(&large(), &Knobs::default()).unwrap().is_empty());
    let many = GemvBitplane { batch: 9, ..spec };
    assert!(matches!(many.launches(&large(), &Knobs::default()), Err(Error::Range { .. })));
}

#[test]
fn launches_serialize_with_everything_an_engine_needs() {
    let launch = &gemv(64, 64, 4, &large())[0];
    let json = serde_json::to_value(launch).unwrap();
    for field in ["kernel", "shader", "bindings", "operands", "params", "grid", "needs", "traffic"]
    {
        assert!(json.get(field).is_some(), "{field}");
    }
    let numbers: Vec<u64> = json["operands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operand| operand["binding"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3, X.into(), Y.into()]);
}

#[test]
fn hessians_beyond_a_binding_are_cut_by_tiles_and_their_tokens_by_128() {
    // The widest layer of a 7B model: 172 tiles across, 14,878 in the triangle, 16 KiB each.
    let layout = HessianLayout::new(11_008, 1, &Caps::webgpu()).unwrap();
    let pieces: Vec<_> = layout.pieces().collect();
    assert_eq!(pieces, [0..8192, 8192..14_878]);
    assert_eq!(layout.piece_len(&pieces[0]) * 4, 128 << 20);
    // 128 MiB hold 3,048 tokens of f32; 2,944 are the last multiple of 128.
    let spec = HessianUpdate { weighted: false, ..HessianUpdate::new(layout, 3000) };
    assert_eq!(spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap().len(), 2);
    let spec = HessianUpdate { tokens: 4000, ..spec };
    let launches = spec.launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap();
    let found = launches.iter().map(|l| (params(l)[2], params(l)[4], params(l)[5], l.grid()));
    let expected = [
        (2944, 0, 8192, [8192, 1, 1]),
        (2944, 8192, 6686, [6686, 1, 1]),
        (1056, 0, 8192, [8192, 1, 1]),
        (1056, 8192, 6686, [6686, 1, 1]),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert_eq!(launches[2].operands()[0].offset, 2944 * 11_008 * 4);
    assert!(
        HessianUpdate { tokens: 0, ..spec.clone() }
            .launches(&large(), &Knobs::DEFAULT)
            .unwrap()
            .is_empty()
    );
    for lanes in [32, 512, 100] {
        let knobs = Knobs { workgroup: Some(lanes), ..Knobs::DEFAULT };
        let caps = Caps { max_invocations: 1024, ..large() };
        let error = spec.launches(&caps, &knobs).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
    }
    // Sums laid out for a larger device are refused on a smaller one.
    let sums = HessianLayout::new(11_008, 1, &large()).unwrap();
    let error = HessianUpdate::new(sums, 1).launches(&Caps::webgpu(), &Knobs::DEFAULT).unwrap_err();
    assert!(matches!(error, Error::BindingTooLarge { .. }), "{error}");
    let tiny = Caps { max_binding_bytes: 16_000, ..Caps::webgpu() };
    let error = HessianLayout::new(1, 1, &tiny).unwrap_err();
    assert!(matches!(error, Error::BindingTooLarge { bytes: 16_384, .. }), "{error}");
}
