//! Hessians added up on a device, against their definition and against those of the CPU.

use fewbytes::linear::file::CalibrationFile;
use fewbytes::linear::{Hessian, HessianAccumulator, HessianLayout, HessianUpdate};
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::ops::hessian::Accumulator;
use fewbytes_wgpu::ops::hessian_update;
use fewbytes_wgpu::{Context, Features, View, adapters, wgpu};
use half::f16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn numbers(seed: u64, count: usize, low: f32) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(low..1.0)).collect()
}

/// Every adapter, with all that it has.
fn devices() -> Vec<Context> {
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: `cargo xtask test` finds or installs a driver");
    let open = |adapter| pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
    found.iter().map(open).collect()
}

/// A device that does nothing, for what has to be refused before it is asked for anything.
fn noop() -> Context {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    Context::new(&device, &queue).unwrap()
}

/// Tokens of one layer.
struct Batch {
    inputs: usize,
    groups: usize,
    x: Vec<f32>,
    s: Option<Vec<f32>>,
}

impl Batch {
    fn new(inputs: usize, groups: usize, tokens: usize, weighted: bool) -> Self {
        let x = numbers(1, tokens * inputs, -1.0);
        let s = weighted.then(|| numbers(2, tokens * groups, 0.0));
        Self { inputs, groups, x, s }
    }

    fn tokens(&self) -> usize {
        self.x.len() / self.inputs
    }

    /// Tokens from one place to another.
    fn part(&self, from: usize, to: usize) -> (&[f32], Option<&[f32]>) {
        let s = self.s.as_ref().map(|s| &s[from * self.groups..to * self.groups]);
        (&self.x[from * self.inputs..to * self.inputs], s)
    }

    /// The sums of a device over batches that end at these tokens.
    fn on(&self, ctx: &Context, ends: &[usize]) -> Hessian {
        let mut sums = Accumulator::new(ctx, "layer", self.inputs, self.groups).unwrap();
        let mut from = 0;
        for &to in ends {
            let (x, s) = self.part(from, to);
            sums.add_batch(x, s).unwrap();
            from = to;
        }
        assert_eq!(sums.tokens(), self.tokens() as u64);
        ctx.block_on(sums.finish()).unwrap()
    }

    /// Asserts that sums are those of the definition, within what f32 can lose in any order of
    /// `n` tokens: each product is rounded when it is weighted, and then with every addition,
    /// those of the batches included; WGSL does not say that roundings are to nearest.
    #[track_caller]
    fn assert_sums(&self, h: &Hessian, batches: usize) {
        let (inputs, groups) = (self.inputs, self.groups);
        assert_eq!((h.inputs(), h.groups(), h.tokens()), (inputs, groups, self.tokens() as u64));
        let depth = (1 + self.tokens() + batches) as f64 * f64::from(f32::EPSILON);
        let gamma = depth / (1.0 - depth);
        for k in 0..groups {
            for i in 0..inputs {
                for j in i..inputs {
                    let (mut sum, mut condition) = (0.0, 0.0);
                    for (t, x) in self.x.chunks_exact(inputs).enumerate() {
                        let s = self.s.as_ref().map_or(1.0, |s| f64::from(s[t * groups + k]));
                        let product = s * f64::from(x[i]) * f64::from(x[j]);
                        sum += product;
                        condition += product.abs();
                    }
                    let found = f64::from(h.get(k, i, j).unwrap());
                    assert!((found - sum).abs() <= gamma * condition, "{k} {i} {j}: {found} {sum}");
                }
            }
        }
    }
}

#[test]
fn sums_are_those_of_the_definition_and_of_the_cpu() {
    for ctx in devices() {
        for (inputs, groups, tokens) in
            [(1, 1, 1), (1, 3, 200), (31, 2, 40), (64, 1, 64), (65, 3, 100), (150, 1, 131)]
        {
            for weighted in [true, false] {
                let batch = Batch::new(inputs, groups, tokens, weighted);
                let found = batch.on(&ctx, &[tokens]);
                batch.assert_sums(&found, 1);
                let mut cpu = HessianAccumulator::new("layer", inputs, groups).unwrap();
                cpu.add_batch(&batch.x, batch.s.as_deref()).unwrap();
                let cpu = cpu.finish().unwrap();
                batch.assert_sums(&cpu, 1);
                let top = cpu.packed().iter().fold(0.0f32, |top, v| top.max(v.abs()));
                for (a, b) in found.packed().iter().zip(cpu.packed()) {
                    assert!((a - b).abs() <= 1e-5 * top, "{}: {a} {b}", ctx.describe());
                }
            }
        }
    }
}

#[test]
fn batches_change_nothing_but_the_last_digits_and_repeat_to_the_bit() {
    for ctx in devices() {
        let batch = Batch::new(70, 2, 300, true);
        for ends in [&[300][..], &[1, 65, 65, 200, 300], &[128, 256, 300]] {
            let found = batch.on(&ctx, ends);
            batch.assert_sums(&found, ends.len());
            assert_eq!(batch.on(&ctx, ends), found, "{}", ctx.describe());
        }
    }
}

#[test]
fn tokens_on_the_device_are_added_as_f32_and_f16() {
    for ctx in devices() {
        // An odd number of f16: tokens begin within words.
        for (inputs, tokens) in [(33, 77), (64, 130)] {
            let mut batch = Batch::new(inputs, 2, tokens, true);
            batch.x.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
            let halves: Vec<f16> = batch.x.iter().map(|&v| f16::from_f32(v)).collect();
            let s = ctx.upload(batch.s.as_ref().unwrap()).unwrap();
            let single = ctx.upload(&batch.x).unwrap();
            let half = ctx.upload(&halves).unwrap();
            let sums = |x| {
                let mut sums = Accumulator::new(&ctx, "layer", inputs, 2).unwrap();
                sums.add_views(x, Some(&s)).unwrap();
                ctx.block_on(sums.finish()).unwrap()
            };
            let found = sums(&single);
            batch.assert_sums(&found, 1);
            assert_eq!(sums(&half), found);
        }
    }
}

#[test]
fn sums_and_tokens_beyond_a_binding_are_cut() {
    for adapter in pollster::block_on(adapters()) {
        // Two tiles of sums, or 128 tokens of 70 inputs, to a binding.
        let limits = wgpu::Limits {
            max_storage_buffer_binding_size: 40_000,
            max_buffer_size: 80_000,
            ..wgpu::Limits::default()
        };
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let ctx = Context::new(&device, &queue).unwrap();
        assert_eq!(ctx.caps().bindable_bytes(), 40_000);
        let batch = Batch::new(70, 3, 777, true);
        let sums = Accumulator::new(&ctx, "layer", 70, 3).unwrap();
        // Three groups of three tiles.
        assert_eq!(sums.sums().1.len(), 5);
        let found = batch.on(&ctx, &[700, 777]);
        batch.assert_sums(&found, 8);

        // Fewer than 128 tokens at a time: from the host always, on the device where they end at
        // multiples of 256 bytes, here at 8 tokens.
        let batch = Batch::new(200, 1, 90, false);
        batch.assert_sums(&batch.on(&ctx, &[90]), 2);
        let mut wide = Accumulator::new(&ctx, "wide", 200, 1).unwrap();
        wide.add_views(&ctx.upload(&batch.x).unwrap(), None).unwrap();
        batch.assert_sums(&ctx.block_on(wide.finish()).unwrap(), 2);
        let mut odd = Accumulator::new(&ctx, "odd", 201, 1).unwrap();
        let text = odd.add_views(&ctx.upload(&[0.0f32; 201 * 90]).unwrap(), None).unwrap_err();
        let text = text.to_string();
        assert!(text.contains("layer odd: 128 rows of x needs 102912 bytes"), "{text}");
        let x = ctx.upload(&batch.x).unwrap();
        let mut narrow = Accumulator::new(&ctx, "narrow", 50, 1).unwrap();
        narrow.add_views(&x, None).unwrap();
        let narrow = ctx.block_on(narrow.finish()).unwrap();
        let x = batch.x;
        Batch { inputs: 50, groups: 1, x, s: None }.assert_sums(&narrow, 4);
    }
}

#[test]
fn bad_tokens_are_refused_in_the_words_of_the_cpu() {
    let ctx = noop();
    for (x, s) in [
        (&[1.0; 3][..], None),
        (&[1.0, 2.0, 3.0, f32::NAN], None),
        (&[1.0, 2.0, f32::INFINITY, 4.0], None),
        (&[1.0; 4], Some(&[1.0; 3][..])),
        (&[1.0; 4], Some(&[1.0, 1.0, 1.0, -0.5])),
        (&[1.0; 4], Some(&[f32::NAN, 1.0, 1.0, 1.0])),
    ] {
        let mut cpu = HessianAccumulator::new("blk.3.up", 2, 2).unwrap();
        let mut gpu = Accumulator::new(&ctx, "blk.3.up", 2, 2).unwrap();
        let expected = cpu.add_batch(x, s).unwrap_err().to_string();
        assert_eq!(gpu.add_batch(x, s).unwrap_err().to_string(), expected);
        assert_eq!(gpu.tokens(), 0);
        let expected = cpu.finish().unwrap_err().to_string();
        assert_eq!(ctx.block_on(gpu.finish()).unwrap_err().to_string(), expected);
    }
    for (inputs, groups) in [(0, 1), (1, 0), (usize::MAX, 1), (1 << 33, 1), (1 << 20, 1 << 20)] {
        let error = Accumulator::new(&ctx, "n", inputs, groups).err().unwrap();
        assert!(error.to_string().starts_with("layer n: Hessian: expected"), "{error}");
    }
}

#[test]
fn views_of_another_type_or_length_are_refused() {
    let ctx = noop();
    let mut sums = Accumulator::new(&ctx, "q", 2, 2).unwrap();
    let x = ctx.upload(&[1.0f32; 4]).unwrap();
    let mut refused = |x: &View, s: Option<&View>, words: &str| {
        let error: Error = sums.add_views(x, s).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("layer q: ") && text.contains(words), "{text}");
    };
    refused(&ctx.upload(&[1u32; 4]).unwrap(), None, "elements of x: expected F32 or F16");
    refused(&ctx.upload(&[1.0f32; 3]).unwrap(), None, "a multiple of 2 inputs, found 3");
    let s = ctx.upload(&[1.0f32; 3]).unwrap();
    refused(&x, Some(&s), "length of s: expected 4, found 3");
    let s = ctx.upload(&[f16::ONE; 4]).unwrap();
    refused(&x, Some(&s), "elements of s: expected F32, found F16");
    assert_eq!(sums.tokens(), 0);
}

#[test]
fn a_batch_is_bound_to_what_its_spec_says() {
    let ctx = noop();
    let layout = HessianLayout::new(3, 2, ctx.caps()).unwrap();
    let spec = HessianUpdate::new(layout.clone(), 5);
    let plan = hessian_update::plan(&ctx, spec, &Knobs::DEFAULT).unwrap();
    let [x, s] = [15, 10].map(|len| ctx.alloc::<f32>(len).unwrap());
    let sums = hessian_update::alloc_sums(&ctx, &layout).unwrap();
    plan.bind(&x, Some(&s), &sums).unwrap();
    let refused = |x: &View, s: Option<&View>, sums: &[View], words: &str| {
        let text = plan.bind(x, s, sums).err().expect("an error").to_string();
        assert!(text.contains(words), "{text}");
    };
    refused(&s, Some(&s), &sums, "length of x: expected 15, found 10");
    refused(&x, Some(&x), &sums, "length of s: expected 10, found 15");
    refused(&x, None, &sums, "sensitivities of hessian_update: expected some, found none");
    refused(&x, Some(&s), &[], "pieces of the sums: expected 1, found 0");
    refused(&x, Some(&s), std::slice::from_ref(&x), "length of sums: expected 8192, found 15");
    let half = ctx.alloc::<f16>(15).unwrap();
    refused(&half, Some(&s), &sums, "elements of x: expected F32, found F16");
}

#[test]
fn sums_beyond_single_precision_are_named() {
    for ctx in devices() {
        let mut sums = Accumulator::new(&ctx, "big", 2, 1).unwrap();
        sums.add_batch(&[1.0, 1e30], None).unwrap();
        let text = ctx.block_on(sums.finish()).unwrap_err().to_string();
        assert!(text.contains("layer big: Hessian of group 0 at row 1, column 1 is inf"), "{text}");
        assert!(text.contains("scale the sensitivities down"), "{text}");
    }
}

#[test]
fn a_calibration_file_gives_the_sums_of_the_cpu() {
    let bytes = include_bytes!("data/exported_demo.calibration.safetensors");
    let file = CalibrationFile::parse("exported", bytes).unwrap();
    for ctx in devices() {
        for layer in file.names() {
            let inputs = file.shape(layer).unwrap().inputs;
            let mut sums = Accumulator::new(&ctx, layer, inputs, 4).unwrap();
            for batch in file.batches(layer, 4).unwrap() {
                let batch = batch.unwrap();
                sums.add_batch(&batch.x, batch.s.as_deref()).unwrap();
            }
            let found = ctx.block_on(sums.finish()).unwrap();
            let cpu = file.accumulate(layer, 4).unwrap();
            assert_eq!((found.name(), found.tokens()), (cpu.name(), cpu.tokens()));
            let top = cpu.packed().iter().fold(0.0f32, |top, v| top.max(v.abs()));
            for (a, b) in found.packed().iter().zip(cpu.packed()) {
                assert!((a - b).abs() <= 1e-5 * top, "{layer}: {a} {b}");
            }
        }
    }
}
