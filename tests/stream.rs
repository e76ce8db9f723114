//! The ruler's kernels: what they are made of, what they refuse, and their reference by hand.

#[path = "fixtures/device.rs"]
mod device;

use device::open;
use fewbytes::launch::{Caps, Knobs, Spec};
use fewbytes::stream::{StreamCopy, StreamRead, read};
use fewbytes::{Error, Launch};
use fewbytes_wgpu::Features;
use fewbytes_wgpu::ops::{stream_copy, stream_read};

fn one(spec: &impl Spec, caps: &Caps) -> fewbytes::Result<Launch> {
    spec.launches(caps, &Knobs::default()).map(|launches| {
        assert_eq!(launches.len(), 1);
        launches.into_iter().next().unwrap()
    })
}

#[test]
fn lanes_fold_every_lanes_th_quad() {
    let src = [1, 2, 4, 8, 16, 0, 0, 0, 0x100, 0x200, 0, 0x100];
    assert_eq!(read::reference(&src, 2).unwrap(), [15 ^ 0x200, 16]);
    assert_eq!(read::reference(&src, 1).unwrap(), [31 ^ 0x200]);
    assert_eq!(read::reference(&src, 4).unwrap(), [15, 16, 0x200, 0]);
    assert!(read::reference(&src, 0).is_err());
}

#[test]
fn all_that_a_binding_holds_is_read_in_one_launch() {
    let caps = Caps { max_binding_bytes: u64::MAX, max_buffer_bytes: u64::MAX, ..Caps::webgpu() };
    let words = (caps.bindable_bytes() / 16 * 4) as usize;
    let launch = one(&StreamRead::new(words), &caps).unwrap();
    assert_eq!(launch.traffic().read_bytes, (1 << 31) - 16);
    assert_eq!(launch.traffic().write_bytes, 4 << 20);
    assert_eq!(launch.grid(), [4096, 1, 1]);
    let error = one(&StreamRead::new(words + 4), &caps).unwrap_err();
    assert!(matches!(error, Error::BindingTooLarge { limit: 2_147_483_644, .. }), "{error}");
    assert!(one(&StreamCopy::new(usize::MAX / 4 * 4), &caps).is_err());
}

#[test]
fn sizes_that_cannot_be_are_refused_by_name() {
    let caps = Caps::webgpu();
    let message = |spec: &dyn Fn() -> fewbytes::Result<Launch>| spec().unwrap_err().to_string();
    let (words, lanes) = (64, 8);
    assert!(message(&|| one(&StreamRead { words: 0, lanes }, &caps)).contains("words of stream_r"));
    assert!(message(&|| one(&StreamCopy { words: 66, lanes }, &caps)).contains("multiple of 4"));
    assert!(message(&|| one(&StreamCopy { words, lanes: 0 }, &caps)).contains("lanes of stream_c"));
    let most = (1 << 24) + 1;
    assert!(message(&|| one(&StreamCopy { words, lanes: most }, &caps)).contains("16777216"));
    for workgroup in [0, 4, 48, 512] {
        let knobs = Knobs { workgroup: Some(workgroup), ..Knobs::default() };
        let error = StreamRead::new(words).launches(&caps, &knobs).unwrap_err();
        assert!(error.to_string().contains("8..=256"), "{error}");
    }
}

#[test]
fn candidates_are_what_the_device_can_run() {
    for (most, count) in [(128, 3), (256, 3), (1024, 5)] {
        let caps = Caps { max_invocations: most, ..Caps::webgpu() };
        let spec = StreamRead::new(1 << 12);
        let all = spec.candidates(&caps);
        assert_eq!((all[0], all.len()), (Knobs::default(), count), "{most}");
        for knobs in all {
            spec.launches(&caps, &knobs).unwrap();
        }
    }
}

#[test]
fn views_of_another_length_are_refused() {
    let ctx = open(Features::Full);
    let (words, lanes) = (64, 8);
    let numbers: Vec<u32> = (0..64).map(|i| i * i).collect();
    let src = ctx.upload(&numbers).unwrap();
    let (dst, folds) = (ctx.alloc::<u32>(words).unwrap(), ctx.alloc::<u32>(8).unwrap());
    let copy = stream_copy::plan(&ctx, &StreamCopy { words, lanes }, &Knobs::default()).unwrap();
    let read = stream_read::plan(&ctx, &StreamRead { words, lanes }, &Knobs::default()).unwrap();
    assert!(matches!(copy.bind(&src, &folds), Err(Error::Shape { .. })));
    assert!(matches!(read.bind(&src, &dst), Err(Error::Shape { .. })));
    assert!(matches!(copy.bind(&src, &src), Err(Error::Aliasing { .. })));
    assert!(read.bind(&ctx.alloc::<f32>(words).unwrap(), &folds).is_err());
    ctx.submit(|pass| copy.record(pass, &src, &dst)).unwrap();
    ctx.submit(|pass| read.record(pass, &dst, &folds)).unwrap();
    assert_eq!(ctx.block_on(ctx.read::<u32>(&dst)).unwrap(), numbers);
    let expected = read::reference(&numbers, lanes).unwrap();
    assert_eq!(ctx.block_on(ctx.read::<u32>(&folds)).unwrap(), expected);
}
