//! Every way to call `record` wrongly, as a list that runs on any device.

use crate::{Wanted, assert_kind, noop, noops, refused, sparse_widths};
use fewbytes::linear::gemv_bitplane::{X, Y};
use fewbytes::linear::{Activation, GemvBitplane};
use fewbytes::{Error, Knobs, Result};
use fewbytes_wgpu::ops::{BitplaneWeights, dequantize_bitplane, gemv_bitplane};
use fewbytes_wgpu::{Arg, Context, Element, View};
use half::f16;
use wgpu::BufferUsages as Usage;

/// A layer on a device with its plans, and tensors that would do.
pub(crate) struct Scene {
    pub(crate) ctx: Context,
    weights: BitplaneWeights,
    gemv: gemv_bitplane::Plan,
    dense: dequantize_bitplane::Plan,
    x: View,
    /// Shared by all: whatever is refused must not have written any of it.
    memory: wgpu::Buffer,
    y: View,
    dst: View,
}

pub(crate) type Call = Box<dyn Fn(&mut wgpu::ComputePass<'_>) -> Result<()>>;

/// A wrong call: what is wrong, the call, whether its error is of the right kind, and words.
pub(crate) struct Wrong {
    pub(crate) what: &'static str,
    pub(crate) call: Call,
    pub(crate) kind: fn(&Error) -> bool,
    pub(crate) words: &'static [&'static str],
}

impl Wrong {
    #[track_caller]
    pub(crate) fn is_refused(&self, pass: &mut wgpu::ComputePass<'_>) {
        let error = refused((self.call)(pass), self.words);
        assert!((self.kind)(&error), "{}: {error:?}", self.what);
    }
}

macro_rules! wrong {
    ($what:literal, $kind:pat, $words:expr, $call:expr) => {
        $crate::record::Wrong {
            what: $what,
            call: Box::new($call),
            kind: |e| matches!(e, $kind),
            words: &$words,
        }
    };
}
pub(crate) use wrong;

/// Bytes of the memory that outputs share.
const MEMORY: u64 = 8192;

impl Scene {
    pub(crate) fn new(ctx: Context) -> Self {
        let weights = BitplaneWeights::upload(&ctx, &sparse_widths().layer(), 8).unwrap();
        let gemv = gemv_bitplane::plan(&ctx, &weights, Default::default()).unwrap();
        let knobs = Knobs::default();
        let dense = dequantize_bitplane::plan(&ctx, &weights, 4, Activation::F32, &knobs).unwrap();
        let x = ctx.upload(&[1.0f32; 64]).unwrap();
        let memory = ctx.upload(&[0xff_u8; MEMORY as usize]).unwrap().buffer().clone();
        let y = View::new(&memory, 0, 6, Element::F32).unwrap();
        let dst = View::new(&memory, 2048, 6 * 64, Element::F32).unwrap();
        Self { ctx, weights, gemv, dense, x, memory, y, dst }
    }

    /// The memory that every wrong call would write, were it recorded.
    pub(crate) fn memory(&self) -> View {
        View::new(&self.memory, 0, MEMORY, Element::U8).unwrap()
    }

    /// The same calls as they should be.
    pub(crate) fn record_rightly(&self, pass: &mut wgpu::ComputePass<'_>) -> Result<()> {
        self.gemv.record(pass, 4, &self.weights, &self.x, &self.y)?;
        self.dense.record(pass, &self.weights, &self.dst)
    }

    fn buffer(&self, size: u64, usage: Usage) -> wgpu::Buffer {
        self.ctx.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    /// `other` is a context on another device.
    pub(crate) fn wrongs(self: &std::sync::Arc<Self>, other: &Context) -> Vec<Wrong> {
        let scene = || std::sync::Arc::clone(self);
        let gemv = |bits: u8, x: &View, y: &View| {
            let (s, x, y) = (scene(), x.clone(), y.clone());
            move |pass: &mut wgpu::ComputePass<'_>| s.gemv.record(pass, bits, &s.weights, &x, &y)
        };
        let dense = |dst: &View| {
            let (s, dst) = (scene(), dst.clone());
            move |pass: &mut wgpu::ComputePass<'_>| s.dense.record(pass, &s.weights, &dst)
        };
        let with = |layer: &Wanted, bits: u8| {
            let weights = BitplaneWeights::upload(&self.ctx, &layer.layer(), bits).unwrap();
            let s = scene();
            move |pass: &mut wgpu::ComputePass<'_>| s.gemv.record(pass, 4, &weights, &s.x, &s.y)
        };
        let floats = |n: usize| self.ctx.alloc::<f32>(n).unwrap();
        let within = |offset, len| View::new(&self.memory, offset, len, Element::F32).unwrap();
        let (x, y) = (&self.x, &self.y);
        let halves = self.ctx.upload(&[f16::ONE; 64]).unwrap();
        let foreign_x = other.upload(&[1.0f32; 64]).unwrap();
        let foreign_y = other.upload(&[1.0f32; 6]).unwrap();
        let plain = self.buffer(256, Usage::COPY_SRC | Usage::COPY_DST);
        let plain = |n| View::new(&plain, 0, n, Element::F32).unwrap();
        let foreign = BitplaneWeights::upload(other, &sparse_widths().layer(), 8).unwrap();
        vec![
            wrong!("bits 1", Error::Range { .. }, ["bits = 1", "3..=8"], gemv(1, x, y)),
            wrong!("bits 0", Error::Range { .. }, ["bits = 0", "3..=8"], gemv(0, x, y)),
            wrong!("bits below the seed", Error::Range { .. }, ["bits = 2"], gemv(2, x, y)),
            wrong!("bits above the parent", Error::Range { .. }, ["bits = 9"], gemv(9, x, y)),
            wrong!("no table", Error::Unsupported { .. }, ["width 5", "3, 4, 8"], gemv(5, x, y)),
            wrong!("short x", Error::Shape { .. }, ["x", "64", "63"], gemv(4, &floats(63), y)),
            wrong!("long x", Error::Shape { .. }, ["x", "64", "65"], gemv(4, &floats(65), y)),
            wrong!("x of f16", Error::Shape { .. }, ["x", "F32", "F16"], gemv(4, &halves, y)),
            wrong!("short y", Error::Shape { .. }, ["y", "6", "5"], gemv(4, x, &within(0, 5))),
            wrong!("long y", Error::Shape { .. }, ["y", "6", "7"], gemv(4, x, &within(0, 7))),
            wrong!(
                "y of u32",
                Error::Shape { .. },
                ["y", "F32", "U32"],
                gemv(4, x, &View::new(&self.memory, 0, 6, Element::U32).unwrap())
            ),
            wrong!("x is y", Error::Aliasing { .. }, ["y", "x"], gemv(4, &within(0, 64), y)),
            wrong!(
                "x beside y in one buffer",
                Error::Aliasing { .. },
                ["y", "x"],
                gemv(4, &within(4096, 64), y)
            ),
            // A fifth word: no device lets storage bindings start there.
            wrong!(
                "misaligned y",
                Error::Alignment { .. },
                ["y", "= 20 "],
                gemv(4, x, &within(20, 6))
            ),
            wrong!(
                "misaligned x",
                Error::Alignment { .. },
                ["x", "= 4 "],
                gemv(4, &View::new(floats(80).buffer(), 4, 64, Element::F32).unwrap(), y)
            ),
            wrong!(
                "x without STORAGE",
                Error::Unsupported { .. },
                ["x", "STORAGE"],
                gemv(4, &plain(64), y)
            ),
            wrong!(
                "y without STORAGE",
                Error::Unsupported { .. },
                ["y", "STORAGE"],
                gemv(4, x, &plain(6))
            ),
            wrong!(
                "x of another device",
                Error::Validation { .. },
                ["operands"],
                gemv(4, &foreign_x, y)
            ),
            wrong!(
                "y of another device",
                Error::Validation { .. },
                ["operands"],
                gemv(4, x, &foreign_y)
            ),
            wrong!("weights of another device", Error::Validation { .. }, ["operands"], {
                let s = scene();
                move |pass| s.gemv.record(pass, 4, &foreign, &s.x, &s.y)
            }),
            wrong!(
                "weights of another shape",
                Error::Shape { .. },
                ["layout", "rows: 6, cols: 64", "rows: 7, cols: 64"],
                with(&Wanted { widths: vec![3, 4, 8], bias: true, ..Wanted::new(7, 64, 3, 8) }, 8)
            ),
            wrong!(
                "weights up to fewer bits",
                Error::Shape { .. },
                ["layout", "max_bits: 8", "max_bits: 4"],
                with(&sparse_widths(), 4)
            ),
            wrong!(
                "short dst",
                Error::Shape { .. },
                ["dst", "384", "383"],
                dense(&within(2048, 383))
            ),
            wrong!(
                "dst of f16",
                Error::Shape { .. },
                ["dst", "F32", "F16"],
                dense(&View::new(&self.memory, 2048, 384, Element::F16).unwrap())
            ),
            wrong!("misaligned dst", Error::Alignment { .. }, ["dst"], dense(&within(2052, 384))),
            wrong!("no planes", Error::Shape { .. }, ["planes", "expected 1", "found 0"], {
                let spec = GemvBitplane::new(self.weights.layout().clone(), 4);
                let (s, plan) = (scene(), self.ctx.plan(&spec).unwrap());
                move |pass| {
                    let x = Arg { binding: X, pieces: std::slice::from_ref(&s.x) };
                    let y = Arg { binding: Y, pieces: std::slice::from_ref(&s.y) };
                    plan.record(pass, &[x, y])
                }
            }),
        ]
    }
}

#[test]
fn a_wrong_call_is_refused_with_the_operand_named() {
    let [ctx, other] = noops();
    let scene = std::sync::Arc::new(Scene::new(ctx));
    let mut encoder = scene.ctx.device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for wrong in scene.wrongs(&other) {
        wrong.is_refused(&mut pass);
        // Being asked again changes nothing.
        wrong.is_refused(&mut pass);
    }
    scene.record_rightly(&mut pass).unwrap();
    drop(pass);
    scene.ctx.queue().submit([encoder.finish()]);
}

#[test]
fn weights_that_differ_in_what_is_not_a_size_are_told_apart() {
    // Only the tables' element, the set of widths, or the bias differs.
    let scene = std::sync::Arc::new(Scene::new(noop()));
    for other in [
        Wanted { table: fewbytes::linear::TableElement::F32, ..sparse_widths() },
        Wanted { widths: vec![3, 4, 5, 8], ..sparse_widths() },
        Wanted { bias: false, ..sparse_widths() },
    ] {
        let weights = BitplaneWeights::upload(&scene.ctx, &other.layer(), 8).unwrap();
        let gemv =
            scene.ctx.submit(|pass| scene.gemv.record(pass, 4, &weights, &scene.x, &scene.y));
        let dense = scene.ctx.submit(|pass| scene.dense.record(pass, &weights, &scene.dst));
        for result in [gemv, dense] {
            let error = refused(result, &["layout of the weights"]);
            let Error::Shape { expected, found, .. } = error else { panic!("{error}") };
            assert_ne!(expected, found, "the message says nothing");
        }
    }
}

#[test]
fn a_pass_of_another_device_is_refused_when_it_is_submitted() {
    let [ctx, other] = noops();
    let scene = Scene::new(ctx);
    let error = refused(other.submit(|pass| scene.record_rightly(pass)), &["compute pass"]);
    assert_kind!(error, Error::Validation { .. });
}
