//! Every way to bind sliced products, batches and sums of slices wrongly, on any device.

use crate::device::open;
use crate::record::{Wrong, wrong};
use crate::{Wanted, assert_kind, noops, refused, sparse_widths};
use fewbytes::linear::{Activation, SumSlices};
use fewbytes::{Caps, Error, Knobs, Result, Spec as _};
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane, sum_slices};
use fewbytes_wgpu::{Context, Element, Features, View};
use std::sync::Arc;
use wgpu::BufferUsages as Usage;

/// A layer of 7 x 64 with a bias on a device, what multiplies it, and tensors that would do.
struct Scene {
    ctx: Context,
    weights: BitplaneWeights,
    /// Two slices.
    sliced: gemv_bitplane::Plan,
    /// Three vectors of f16, so that rows are padded: `y` is 3 x 8.
    batch: gemv_bitplane::Plan,
    /// Two slices of two vectors of three rows, and a bias.
    sums: sum_slices::Plan,
    x: View,
    bias: View,
    /// Shared by all: whatever is refused must not have written any of it.
    memory: wgpu::Buffer,
    scratch: View,
    partials: View,
}

const MEMORY: u64 = 8192;
/// Two slices of seven rows of f32.
const SCRATCH: u64 = 56;
const SUMS: SumSlices =
    SumSlices { rows: 3, batch: 2, slices: 2, activation: Activation::F32, bias: true };

impl Scene {
    fn new(ctx: Context) -> Self {
        let layer = Wanted { widths: vec![3, 4, 8], bias: true, ..Wanted::new(7, 64, 3, 8) };
        let weights = BitplaneWeights::upload(&ctx, &layer.layer(), 8).unwrap();
        let knobs = Knobs { slices: Some(2), ..Knobs::DEFAULT };
        let plan = |options| gemv_bitplane::plan(&ctx, &weights, options).unwrap();
        let sliced = plan(gemv_bitplane::Options { knobs, ..Default::default() });
        let batch = plan(gemv_bitplane::Options {
            batch: 3,
            activation: Activation::F16,
            ..Default::default()
        });
        assert_eq!((sliced.scratch_bytes(), batch.scratch_bytes()), (SCRATCH, 0));
        assert_eq!((batch.x_len(), batch.y_len()), (192, 24));
        Self {
            sums: sum_slices::plan(&ctx, SUMS, &Knobs::DEFAULT).unwrap(),
            x: ctx.upload(&[1.0f32; 64]).unwrap(),
            bias: ctx.upload(&[1.0f32; 3]).unwrap(),
            memory: ctx.upload(&[0xff_u8; MEMORY as usize]).unwrap().buffer().clone(),
            scratch: ctx.alloc::<u32>(14).unwrap(),
            partials: ctx.upload(&[1.0f32; 12]).unwrap(),
            weights,
            sliced,
            batch,
            ctx,
        }
    }

    fn within(&self, offset: u64, len: u64, element: Element) -> View {
        View::new(&self.memory, offset, len, element).unwrap()
    }

    fn y(&self) -> View {
        self.within(0, 7, Element::F32)
    }

    fn halves(&self, len: u64) -> View {
        self.within(0, len, Element::F16)
    }

    /// What the memory holds.
    fn memory(&self) -> Vec<u8> {
        let ctx = &self.ctx;
        ctx.block_on(ctx.read::<u8>(&self.within(0, MEMORY, Element::U8))).unwrap()
    }

    /// The same calls as they should be.
    fn record_rightly(&self, pass: &mut wgpu::ComputePass<'_>) -> Result<()> {
        let (y, sums) = (self.y(), self.within(1024, 6, Element::F32));
        self.sliced.bind_with(&self.weights, &self.x, &y, Some(&self.scratch))?.record(pass, 4)?;
        // More scratch memory than is needed, and some where none is.
        let larger = self.ctx.alloc::<f32>(100)?;
        self.sliced.bind_with(&self.weights, &self.x, &y, Some(&larger))?.record(pass, 8)?;
        let (x, y) = (self.ctx.alloc::<half::f16>(192)?, self.within(2048, 24, Element::F16));
        self.batch.bind_with(&self.weights, &x, &y, Some(&larger))?.record(pass, 3)?;
        self.sums.bind(&self.partials, Some(&self.bias), &sums)?.record(pass)
    }

    /// `other` is a context on another device.
    fn wrongs(self: &Arc<Self>, other: &Context) -> Vec<Wrong> {
        let mut all = self.wrong_scratch(other);
        all.extend(self.wrong_batches());
        all.extend(self.wrong_sums(other));
        all
    }

    fn wrong_scratch(self: &Arc<Self>, other: &Context) -> Vec<Wrong> {
        let with = |x: &View, y: &View, scratch: Option<&View>| {
            let (s, x, y, scratch) = (Arc::clone(self), x.clone(), y.clone(), scratch.cloned());
            move |pass: &mut wgpu::ComputePass<'_>| {
                let bound = s.sliced.bind_with(&s.weights, &x, &y, scratch.as_ref())?;
                bound.record(pass, 4)
            }
        };
        let (x, y) = (&self.x, &self.y());
        let scratch = |offset, len| self.within(offset, len, Element::U8);
        let lent = |view: &View| with(x, y, Some(view));
        let plain = plain(&self.ctx);
        let foreign = other.alloc::<f32>(64).unwrap();
        let of = |views: &[View]| View::new(views[0].buffer(), 0, SCRATCH, Element::U8).unwrap();
        let (planes, tables) = (of(self.weights.planes()), of(self.weights.tables()));
        vec![
            wrong!(
                "no scratch",
                Error::Shape { .. },
                ["scratch memory of gemv_bitplane", "at least 56 bytes", "none"],
                with(x, y, None)
            ),
            wrong!("bound without", Error::Shape { .. }, ["scratch", "56", "none"], {
                let (s, y) = (Arc::clone(self), y.clone());
                move |pass| s.sliced.bind(&s.weights, &s.x, &y)?.record(pass, 4)
            }),
            wrong!("recorded without", Error::Shape { .. }, ["scratch", "56", "none"], {
                let (s, y) = (Arc::clone(self), y.clone());
                move |pass| s.sliced.record(pass, 4, &s.weights, &s.x, &y)
            }),
            wrong!(
                "short scratch",
                Error::Shape { .. },
                ["scratch memory of gemv_bitplane", "at least 56 bytes", "found 52"],
                lent(&scratch(4096, 52))
            ),
            wrong!(
                "scratch is y",
                Error::Aliasing { .. },
                ["scratch memory of gemv_bitplane", " y "],
                lent(&scratch(0, 64))
            ),
            wrong!(
                "y ends in scratch",
                Error::Aliasing { .. },
                ["scratch memory of gemv_bitplane", " y "],
                with(x, &self.within(256, 7, Element::F32), Some(&scratch(280, 56)))
            ),
            wrong!(
                "scratch is x",
                Error::Aliasing { .. },
                ["scratch memory of gemv_bitplane", " x "],
                with(&self.within(4096, 64, Element::F32), y, Some(&scratch(4096, 56)))
            ),
            wrong!(
                "scratch beside x in one buffer",
                Error::Aliasing { .. },
                ["partials of gemv_bitplane", " x "],
                with(&self.within(4096, 64, Element::F32), y, Some(&scratch(1024, 56)))
            ),
            wrong!(
                "scratch beside y in one buffer",
                Error::Aliasing { .. },
                ["y of sum_slices", " partials "],
                lent(&scratch(1024, 56))
            ),
            wrong!(
                "scratch in the planes",
                Error::Aliasing { .. },
                ["scratch memory", " planes "],
                lent(&planes)
            ),
            wrong!(
                "scratch in the tables",
                Error::Aliasing { .. },
                ["scratch memory", " tables "],
                lent(&tables)
            ),
            wrong!(
                "misaligned scratch",
                Error::Alignment { .. },
                ["offset of partials of gemv_bitplane", "= 4 "],
                lent(
                    &View::new(self.ctx.alloc::<u8>(80).unwrap().buffer(), 4, 56, Element::U8)
                        .unwrap()
                )
            ),
            wrong!(
                "scratch without STORAGE",
                Error::Unsupported { .. },
                ["partials of gemv_bitplane", "STORAGE"],
                lent(&plain)
            ),
            wrong!(
                "scratch of another device",
                Error::Validation { .. },
                ["operands of gemv_bitplane"],
                lent(&foreign)
            ),
        ]
    }

    fn wrong_batches(self: &Arc<Self>) -> Vec<Wrong> {
        let call = |x: &View, y: &View| {
            let (s, x, y) = (Arc::clone(self), x.clone(), y.clone());
            move |pass: &mut wgpu::ComputePass<'_>| {
                s.batch.bind(&s.weights, &x, &y)?.record(pass, 4)
            }
        };
        let x = |len| self.ctx.alloc::<half::f16>(len).unwrap();
        vec![
            wrong!("x of one vector", Error::Shape { .. }, ["x", "192", "64"], {
                call(&x(64), &self.halves(24))
            }),
            wrong!("x of four vectors", Error::Shape { .. }, ["x", "192", "256"], {
                call(&x(256), &self.halves(24))
            }),
            wrong!("x of f32", Error::Shape { .. }, ["x", "F16", "F32"], {
                call(&self.ctx.alloc::<f32>(192).unwrap(), &self.halves(24))
            }),
            wrong!("y of one vector", Error::Shape { .. }, ["y", "24", "8"], {
                call(&x(192), &self.halves(8))
            }),
            wrong!("y without padding", Error::Shape { .. }, ["y", "24", "21"], {
                call(&x(192), &self.halves(21))
            }),
            wrong!("three vectors for one", Error::Shape { .. }, ["x", "64", "192"], {
                let (s, x, y) = (Arc::clone(self), self.ctx.alloc::<f32>(192).unwrap(), self.y());
                move |pass| {
                    s.sliced.bind_with(&s.weights, &x, &y, Some(&s.scratch))?.record(pass, 4)
                }
            }),
        ]
    }

    fn wrong_sums(self: &Arc<Self>, other: &Context) -> Vec<Wrong> {
        let call = |partials: &View, bias: Option<&View>, y: &View| {
            let (s, partials, bias, y) =
                (Arc::clone(self), partials.clone(), bias.cloned(), y.clone());
            move |pass: &mut wgpu::ComputePass<'_>| {
                s.sums.bind(&partials, bias.as_ref(), &y)?.record(pass)
            }
        };
        let floats = |offset, len| self.within(offset, len, Element::F32);
        let y = &floats(0, 6);
        let (partials, bias) = (&self.partials, Some(&self.bias));
        let partials_of = |view: &View| call(view, bias, y);
        let own = |len| self.ctx.alloc::<f32>(len).unwrap();
        let unbiased = SumSlices { bias: false, ..SUMS };
        let unbiased = sum_slices::plan(&self.ctx, unbiased, &Knobs::DEFAULT).unwrap();
        vec![
            wrong!("short partials", Error::Shape { .. }, ["partials", "12", "11"], {
                partials_of(&own(11))
            }),
            wrong!("long partials", Error::Shape { .. }, ["partials", "12", "13"], {
                partials_of(&own(13))
            }),
            wrong!("partials of u32", Error::Shape { .. }, ["partials", "F32", "U32"], {
                partials_of(&self.ctx.alloc::<u32>(12).unwrap())
            }),
            wrong!("short y", Error::Shape { .. }, ["y", "6", "5"], {
                call(partials, bias, &floats(0, 5))
            }),
            wrong!("long y", Error::Shape { .. }, ["y", "6", "7"], {
                call(partials, bias, &floats(0, 7))
            }),
            wrong!("y of f16", Error::Shape { .. }, ["y", "F32", "F16"], {
                call(partials, bias, &self.halves(6))
            }),
            wrong!(
                "no bias",
                Error::Shape { .. },
                ["bias of sum_slices", "expected a bias", "found none"],
                call(partials, None, y)
            ),
            wrong!(
                "a bias too many",
                Error::Shape { .. },
                ["bias of sum_slices", "expected none", "found a bias"],
                {
                    let (s, y) = (Arc::clone(self), y.clone());
                    move |pass| unbiased.bind(&s.partials, Some(&s.bias), &y)?.record(pass)
                }
            ),
            wrong!("short bias", Error::Shape { .. }, ["bias", "3", "2"], {
                call(partials, Some(&own(2)), y)
            }),
            wrong!("bias of f16", Error::Shape { .. }, ["bias", "F32", "F16"], {
                call(partials, Some(&self.ctx.alloc::<half::f16>(3).unwrap()), y)
            }),
            wrong!(
                "y is partials",
                Error::Aliasing { .. },
                ["y of sum_slices", " partials "],
                partials_of(&floats(0, 12))
            ),
            wrong!(
                "partials beside y in one buffer",
                Error::Aliasing { .. },
                ["y of sum_slices", " partials "],
                partials_of(&floats(4096, 12))
            ),
            wrong!(
                "bias beside y in one buffer",
                Error::Aliasing { .. },
                ["y of sum_slices", " bias "],
                call(partials, Some(&floats(4096, 3)), y)
            ),
            wrong!(
                "misaligned y",
                Error::Alignment { .. },
                ["y of sum_slices", "= 20 "],
                call(partials, bias, &floats(20, 6))
            ),
            wrong!(
                "partials without STORAGE",
                Error::Unsupported { .. },
                ["partials of sum_slices", "STORAGE"],
                partials_of(&View::new(plain(&self.ctx).buffer(), 0, 12, Element::F32).unwrap())
            ),
            wrong!(
                "partials of another device",
                Error::Validation { .. },
                ["operands of sum_slices"],
                partials_of(&other.alloc::<f32>(12).unwrap())
            ),
        ]
    }
}

/// A buffer that no shader can bind.
fn plain(ctx: &Context) -> View {
    let buffer = ctx.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 256,
        usage: Usage::COPY_SRC | Usage::COPY_DST,
        mapped_at_creation: false,
    });
    View::new(&buffer, 0, 256, Element::U8).unwrap()
}

#[test]
fn a_wrong_sliced_call_is_refused_with_the_operand_named() {
    let [ctx, other] = noops();
    let scene = Arc::new(Scene::new(ctx));
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
fn a_refused_sliced_call_writes_nothing_even_if_its_pass_runs() {
    let scene = Arc::new(Scene::new(open(Features::Full)));
    let ctx = &scene.ctx;
    for wrong in scene.wrongs(&open(Features::Full)) {
        // The caller goes on regardless and submits what there is.
        let mut encoder = ctx.device().create_command_encoder(&Default::default());
        wrong.is_refused(&mut encoder.begin_compute_pass(&Default::default()));
        ctx.queue().submit([encoder.finish()]);
        assert!(scene.memory().iter().all(|&byte| byte == 0xff), "{} wrote", wrong.what);
    }
    // The proof has teeth: called rightly, the same plans do write there, and nowhere else.
    ctx.submit(|pass| scene.record_rightly(pass)).unwrap();
    let memory = scene.memory();
    for written in [0..28, 1024..1048, 2048..2096] {
        let words = memory[written.clone()].chunks_exact(4);
        assert!(words.into_iter().all(|word| word != [0xff; 4]), "{written:?}");
    }
    assert!(memory[28..1024].iter().all(|&byte| byte == 0xff));
    assert!(memory[1048..2048].iter().chain(&memory[2096..]).all(|&byte| byte == 0xff));
}

#[test]
fn weights_of_another_shape_are_refused_by_a_sliced_plan() {
    let [ctx, _] = noops();
    let scene = Scene::new(ctx);
    let weights = BitplaneWeights::upload(&scene.ctx, &sparse_widths().layer(), 8).unwrap();
    let result = scene.sliced.bind_with(&weights, &scene.x, &scene.y(), Some(&scene.scratch));
    assert_kind!(refused(result, &["layout", "rows: 7", "rows: 6"]), Error::Shape { .. });
}

#[test]
fn sums_of_nothing_are_refused_and_of_no_vector_are_no_launch() {
    let launches = |spec: SumSlices| spec.launches(&Caps::webgpu(), &Knobs::DEFAULT);
    let error = refused(launches(SumSlices { rows: 0, ..SUMS }), &["rows of sum_slices", "= 0 "]);
    assert_kind!(error, Error::Range { .. });
    let error = refused(launches(SumSlices { slices: 0, ..SUMS }), &["slices of sum_slices", "0"]);
    assert_kind!(error, Error::Range { .. });
    assert!(launches(SumSlices { batch: 0, ..SUMS }).unwrap().is_empty());
    // Not even by the way.
    refused(launches(SumSlices { batch: 0, slices: 0, ..SUMS }), &["slices"]);
}

#[test]
fn sums_whose_bytes_cannot_be_counted_or_bound_are_refused() {
    for activation in [Activation::F32, Activation::F16] {
        let sums = SumSlices { activation, ..SUMS };
        for most in [usize::MAX, usize::MAX - 1, usize::MAX / 2, usize::MAX / 8 + 1] {
            for (spec, what) in [
                (SumSlices { rows: most, ..sums }, "y"),
                (SumSlices { batch: most, ..sums }, "y"),
                (SumSlices { slices: most, ..sums }, "partials"),
            ] {
                let result = spec.launches(&Caps::webgpu(), &Knobs::DEFAULT);
                let error = refused(result, &[what, "limit is 134217728"]);
                assert_kind!(error, Error::BindingTooLarge { .. });
            }
        }
    }
    let caps = Caps { max_binding_bytes: 44, ..Caps::webgpu() };
    let error = refused(SUMS.launches(&caps, &Knobs::DEFAULT), &["partials", "48", "44"]);
    assert_kind!(error, Error::BindingTooLarge { bytes: 48, limit: 44, .. });
}
