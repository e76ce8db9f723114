//! Sliced products as launches, for imaginary devices: no adapter is needed.

use fewbytes::launch::{Access, Caps, Knobs, Launch, Scratch, Spec as _, Traffic};
use fewbytes::linear::gemv_bitplane::{BIAS, PARTIALS, X, Y};
use fewbytes::linear::{
    Activation, BitplaneLayout, BitplaneShape, GemvBitplane, SumSlices, TableElement,
};
use fewbytes::{Error, Result};

const WIDTHS: [u8; 7] = [2, 3, 4, 5, 6, 7, 8];

fn layout(rows: usize, cols: usize, caps: &Caps) -> BitplaneLayout {
    let shape = BitplaneShape { rows, cols, seed_bits: 2, parent_bits: 8 };
    BitplaneLayout::for_shape(shape, &WIDTHS, TableElement::F16, true, 8, caps).unwrap()
}

fn sliced(spec: &GemvBitplane, slices: u32, caps: &Caps) -> Result<Vec<Launch>> {
    spec.launches(caps, &Knobs { slices: Some(slices), ..Knobs::DEFAULT })
}

fn params(launch: &Launch) -> Vec<u32> {
    launch.params().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn traffic(launches: &[Launch]) -> Traffic {
    launches.iter().map(Launch::traffic).sum()
}

/// How a launch uses a binding, if it has it.
fn access(launch: &Launch, number: u32) -> Option<Access> {
    launch.bindings().iter().find(|binding| binding.number == number).map(|b| b.access)
}

fn binds(launch: &Launch, number: u32) -> bool {
    launch.operands().iter().any(|operand| operand.binding == number)
}

/// Products of several kinds over one layout.
fn specs(layout: &BitplaneLayout) -> Vec<GemvBitplane> {
    let mut all = Vec::new();
    for bits in WIDTHS {
        for activation in [Activation::F32, Activation::F16] {
            for (batch, bias) in [(1, true), (1, false), (3, true), (8, false)] {
                let spec = GemvBitplane::new(layout.clone(), bits);
                all.push(GemvBitplane { batch, activation, bias, ..spec });
            }
        }
    }
    all
}

#[test]
fn partial_sums_lie_in_scratch_that_the_product_writes_and_the_sum_reads() {
    let caps = Caps::webgpu();
    for (rows, cols) in [(7, 1056), (64, 4096), (411, 70)] {
        for spec in specs(&layout(rows, cols, &caps)) {
            for slices in [2, 3] {
                let launches = sliced(&spec, slices, &caps).unwrap();
                let [product, sum] = launches.as_slice() else {
                    panic!("{} launches", launches.len())
                };
                let stride = match spec.activation {
                    Activation::F32 => rows,
                    Activation::F16 => rows.next_multiple_of(2),
                };
                let bytes = (4 * stride * spec.batch) as u64 * u64::from(slices);
                let expected = [Scratch { binding: PARTIALS, offset: 0, bytes }];
                for launch in &launches {
                    assert_eq!(launch.scratch(), expected, "{} of {spec:?}", launch.kernel());
                    assert!(launch.scratch().iter().all(|part| part.offset % 256 == 0));
                    assert!(launch.needs().binding_bytes >= bytes);
                    // Scratch is the host's to bind: no tensor goes there.
                    assert!(!binds(launch, PARTIALS));
                }
                assert_eq!((product.kernel(), sum.kernel()), ("gemv_bitplane", "sum_slices"));
                assert_eq!(access(product, PARTIALS), Some(Access::ReadWrite));
                assert_eq!(access(sum, PARTIALS), Some(Access::Read));
                // The bias and y belong to the sum alone, x to the product alone.
                assert_eq!([BIAS, Y].map(|number| access(product, number)), [None; 2]);
                assert_eq!(access(sum, Y), Some(Access::ReadWrite));
                assert_eq!(access(sum, X), None);
                assert_eq!([BIAS, X, Y].map(|number| binds(product, number)), [false, true, false]);
                assert_eq!([BIAS, X, Y].map(|number| binds(sum, number)), [spec.bias, false, true]);
            }
        }
    }
}

#[test]
fn one_slice_is_no_slice() {
    let caps = Caps::webgpu();
    for spec in specs(&layout(7, 1056, &caps)) {
        let launches = sliced(&spec, 1, &caps).unwrap();
        assert_eq!(launches, spec.launches(&caps, &Knobs::DEFAULT).unwrap());
        let [launch] = launches.as_slice() else { panic!("{} launches", launches.len()) };
        assert!(launch.scratch().is_empty());
        assert_eq!(access(launch, PARTIALS), None);
    }
}

#[test]
fn the_parameters_say_what_each_slice_has() {
    let caps = Caps::webgpu();
    // 33 words: slices of 9, the last one of 6.
    let spec = GemvBitplane { batch: 3, ..GemvBitplane::new(layout(7, 1056, &caps), 4) };
    let launches = sliced(&spec, 4, &caps).unwrap();
    let product = params(&launches[0]);
    assert_eq!(product[..7], [7, 0, 0, 1056, 33, 33 * 7 + 25, 7]);
    assert_eq!(product[8..], [4, 9, 0, 0]);
    assert_eq!(params(&launches[1]), [7, 3, 4, 7, 1, 0, 0, 0]);
    // Two workgroups of four rows, each four times.
    assert_eq!(launches[0].grid(), [8, 1, 1]);
}

#[test]
fn pieces_share_one_scratch_and_end_in_one_sum() {
    let caps = Caps::webgpu();
    let layout = layout(28_672, 8192, &caps);
    let pieces = layout.pieces().count();
    assert!(pieces > 1);
    for (batch, activation) in [(1, Activation::F32), (3, Activation::F16)] {
        let spec = GemvBitplane { batch, activation, ..GemvBitplane::new(layout.clone(), 8) };
        let launches = sliced(&spec, 4, &caps).unwrap();
        let kernels: Vec<_> = launches.iter().map(Launch::kernel).collect();
        let mut expected = vec!["gemv_bitplane"; pieces];
        expected.push("sum_slices");
        assert_eq!(kernels, expected);
        let bytes = (4 * 4 * batch * 28_672) as u64;
        for launch in &launches {
            assert_eq!(launch.scratch(), [Scratch { binding: PARTIALS, offset: 0, bytes }]);
        }
        // Every row is written by one piece, at its place in the whole, and summed once.
        let mut next = 0;
        for (piece, launch) in launches[..pieces].iter().enumerate() {
            let params = params(launch);
            assert_eq!((params[2], params[6], params[8]), (next, 28_672, 4), "piece {piece}");
            assert_eq!(launch.operands()[0].piece, piece as u32);
            next += params[0];
        }
        assert_eq!(next, 28_672);
        assert_eq!(params(&launches[pieces])[..4], [28_672, batch as u32, 4, 28_672]);
    }
}

#[test]
fn slices_do_not_change_the_traffic_that_counts() {
    let webgpu = Caps::webgpu();
    let tight = Caps { max_binding_bytes: 140_000, ..Caps::webgpu() };
    for (rows, cols, caps) in [(7, 1056, &webgpu), (411, 70, &tight)] {
        for spec in specs(&layout(rows, cols, caps)) {
            let whole = traffic(&spec.launches(caps, &Knobs::DEFAULT).unwrap());
            assert_eq!(whole.flops, (2 * spec.batch * rows * cols) as u64);
            let written = (spec.batch * rows * spec.activation.bytes()) as u64;
            assert_eq!(whole.write_bytes, written, "{spec:?}");
            for slices in [2, 3] {
                let launches = sliced(&spec, slices, caps).unwrap();
                assert_eq!(traffic(&launches), whole, "{slices} slices of {spec:?}");
            }
        }
    }
    // A sum that somebody else asks for does read its partial sums.
    let sums = SumSlices { rows: 7, batch: 3, slices: 5, activation: Activation::F32, bias: true };
    let launches = sums.launches(&webgpu, &Knobs::DEFAULT).unwrap();
    let expected =
        Traffic { read_bytes: 4 * (7 * 3 * 5 + 7), write_bytes: 4 * 7 * 3, flops: 7 * 3 * 5 };
    assert_eq!(traffic(&launches), expected);
    assert!(launches[0].scratch().is_empty() && binds(&launches[0], PARTIALS));
}

#[test]
fn a_row_is_cut_into_no_more_slices_than_it_has_words() {
    let caps = Caps::webgpu();
    for (cols, words) in [(1056, 33), (1, 1), (32, 1), (33, 2)] {
        let spec = GemvBitplane::new(layout(7, cols, &caps), 4);
        for slices in [0, words + 1, 1 << 31, u32::MAX] {
            let error = sliced(&spec, slices, &caps).unwrap_err();
            let Error::Range { what, limit, value } = &error else { panic!("{error:?}") };
            assert_eq!(what, "slices of gemv_bitplane");
            assert_eq!(*limit, format!("1..={words}, the words of a row"));
            assert_eq!(*value, slices.to_string());
        }
        let most = sliced(&spec, words, &caps).unwrap();
        assert_eq!(most.len(), if words == 1 { 1 } else { 2 });
        assert_eq!(params(&most[0])[8..10], [words, 1], "one word a slice");
    }
}

#[test]
fn partial_sums_that_do_not_fit_a_binding_are_named() {
    // Everything else fits: 1024 rows of 8 KiB of sums, and the planes of 1024 x 256.
    let caps = |max_binding_bytes| Caps { max_binding_bytes, ..Caps::webgpu() };
    let layout = layout(128, 2048, &caps(600_000));
    let spec = GemvBitplane { batch: 8, ..GemvBitplane::new(layout, 2) };
    let bytes = 64 * 8 * 128 * 4;
    sliced(&spec, 64, &caps(bytes)).unwrap();
    let error = sliced(&spec, 64, &caps(bytes - 4)).unwrap_err();
    let text = format!("partials needs {bytes} bytes in one binding, the limit is {}", bytes - 4);
    assert_eq!(error.to_string(), text);
    assert!(matches!(error, Error::BindingTooLarge { .. }), "{error:?}");
}

#[test]
fn slices_past_65535_workgroups_take_a_second_dimension() {
    let caps = Caps { max_binding_bytes: 1 << 31, max_buffer_bytes: 1 << 31, ..Caps::webgpu() };
    let spec = GemvBitplane::new(layout(131_074, 128, &caps), 3);
    // Without slices one dimension does.
    assert_eq!(spec.launches(&caps, &Knobs::DEFAULT).unwrap()[0].grid(), [32_769, 1, 1]);
    let launches = sliced(&spec, 4, &caps).unwrap();
    let [x, y, z] = launches[0].grid();
    assert_eq!((y, z), (3, 1));
    assert!(x <= 65_535 && u64::from(x) * u64::from(y) >= 4 * 32_769);
    // 64 elements a workgroup.
    assert_eq!(launches[1].grid(), [2049, 1, 1]);
    let few = Caps { max_groups: 300, ..caps.clone() };
    let error = sliced(&spec, 4, &few).unwrap_err();
    let text = format!("workgroups of gemv_bitplane = {} is outside 0..=90000", 4 * 32_769);
    assert_eq!(error.to_string(), text);
}

#[test]
fn no_vectors_make_no_launches_and_want_no_scratch() {
    let caps = Caps::webgpu();
    let spec = GemvBitplane { batch: 0, ..GemvBitplane::new(layout(7, 1056, &caps), 4) };
    assert!(sliced(&spec, 2, &caps).unwrap().is_empty());
}
