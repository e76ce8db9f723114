//! Whole runs beside the CPU's.

use super::*;
use fewbytes::Error;
use fewbytes::linear::{
    LabelStep, Lnq, LnqJob, LnqOptions, LnqStep, Phase, Precision, TableElement, lnq, objectives,
};
use fewbytes_wgpu::ops;
use fewbytes_wgpu::ops::lnq::Settings;
use std::sync::atomic::{AtomicUsize, Ordering};

fn options(bits: u8) -> LnqOptions {
    LnqOptions { bits, ..LnqOptions::default() }
}

fn on_device(ctx: &Context, layer: &Layer, options: &LnqOptions) -> Lnq {
    let weights = layer.weights();
    let run = ops::lnq::lnq(ctx, &weights, &layer.hessian, options, &|_| {});
    ctx.block_on(run).unwrap()
}

fn totals(done: &Lnq) -> Vec<f64> {
    done.report.steps.iter().map(LnqStep::objective).collect()
}

/// Labels that differ, sorted tables making them comparable.
fn different(a: &Lnq, b: &Lnq) -> usize {
    a.quantized.codes.iter().zip(&b.quantized.codes).filter(|(a, b)| a != b).count()
}

#[track_caller]
fn assert_close(found: &Lnq, expected: &Lnq) {
    let (found_steps, expected_steps) = (&found.report.steps, &expected.report.steps);
    assert_eq!(found_steps.len(), expected_steps.len());
    for (found, expected) in found_steps.iter().zip(expected_steps) {
        assert_eq!(found.phase, expected.phase);
        assert_eq!(found.rows.len(), expected.rows.len());
        let (found, expected) = (found.objective(), expected.objective());
        assert!((found - expected).abs() <= 1e-4 * expected, "{found} for {expected}");
    }
}

#[test]
fn a_layer_comes_out_as_on_the_cpu() {
    for (seed, shape, bits, groups) in [
        (1, (6, 1), 1, 1),
        (2, (7, 31), 2, 1),
        (3, (66, 65), 3, 2),
        (4, (64, 200), 4, 1),
        (5, (130, 128), 2, 1),
    ] {
        let layer = layer(seed, shape, 4 * shape.1 + 16, groups, |_| true);
        let options = options(bits);
        let expected = lnq(&layer.weights(), &layer.hessian, &options).unwrap();
        for ctx in contexts() {
            let found = on_device(&ctx, &layer, &options);
            let off = different(&found, &expected);
            let share = found.report.after() / found.report.before();
            println!("{} {shape:?}: {off} labels differ, {share:.4}", ctx.describe());
            assert_close(&found, &expected);
            assert!(off * 100 <= found.quantized.codes.len(), "{off} labels differ");
            // What is reported is what the codes and tables have.
            let own = objectives(&layer.weights(), &layer.hessian, &found.quantized).unwrap();
            assert_eq!(found.report.steps.last().unwrap().rows, own);
        }
    }
}

#[test]
fn no_half_step_makes_a_row_worse() {
    for (seed, bits, tokens) in [(1, 2, 600), (2, 4, 600), (3, 3, 40)] {
        // The last with fewer tokens than inputs: a matrix of low rank.
        let layer = layer(seed, (40, 150), tokens, 1, |_| true);
        let options = LnqOptions { iterations: 3, table: TableElement::F32, ..options(bits) };
        for ctx in contexts() {
            let done = on_device(&ctx, &layer, &options);
            let steps = &done.report.steps;
            for pair in steps.windows(2).take(options.half_steps()) {
                for (before, after) in pair[0].rows.iter().zip(&pair[1].rows) {
                    assert!(*after <= before * (1.0 + 1e-6), "{after} after {before}");
                }
            }
            // Independently of what the device says of itself: f64, tables as they were.
            let exact = steps.last().unwrap();
            assert_eq!(exact.phase, Phase::Rounded);
            let last = &steps[steps.len() - 2];
            for ((exact, last), first) in exact.rows.iter().zip(&last.rows).zip(&steps[0].rows) {
                assert!((exact - last).abs() <= 1e-4 * last + 1e-6 * first, "{exact} {last}");
            }
            println!("{}: {:.4?}", ctx.describe(), totals(&done));
            assert!(done.report.after() < 0.6 * done.report.before());
        }
    }
}

#[test]
fn inactive_inputs_zero_matrices_and_few_values_are_as_on_the_cpu() {
    let some = layer(7, (20, 70), 300, 1, |col| col % 5 != 2);
    let none = layer(8, (6, 40), 50, 1, |_| false);
    let mut constant = layer(9, (5, 33), 200, 1, |_| true);
    constant.values.iter_mut().enumerate().for_each(|(at, w)| *w = (at % 3) as f32 / 8.0);
    for (layer, inactive) in [(&some, 14), (&none, 40), (&constant, 0)] {
        let expected = lnq(&layer.weights(), &layer.hessian, &options(3)).unwrap();
        for ctx in contexts() {
            let found = on_device(&ctx, layer, &options(3));
            assert_eq!(found.report.inactive_inputs, inactive);
            assert_eq!(found.report.zero_groups, expected.report.zero_groups);
            assert_close(&found, &expected);
            assert!(different(&found, &expected) * 100 <= found.quantized.codes.len());
            let tables = &found.quantized.tables[0].1;
            assert!(tables.iter().all(|entry| entry.is_finite()));
        }
    }
}

#[test]
fn small_bindings_and_little_memory_change_nothing_but_the_pieces() {
    let layer = layer(11, (150, 300), 700, 1, |_| true);
    let options = LnqOptions { iterations: 1, cycles: 2, ..options(3) };
    let expected = lnq(&layer.weights(), &layer.hessian, &options).unwrap();
    for adapter in pollster::block_on(adapters()) {
        let required_limits = wgpu::Limits {
            // 102 rows of 320 f32.
            max_storage_buffer_binding_size: 128 << 10,
            ..wgpu::Limits::default()
        };
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let ctx = Context::new(&device, &queue).unwrap();
        assert_eq!(ctx.caps().max_binding_bytes, 128 << 10);
        let weights = layer.weights();
        let job = LnqJob::new(&weights, &layer.hessian, &options).unwrap();
        assert_eq!(job.layout(1).pieces(ctx.caps()).unwrap().len(), 5);
        let told = AtomicUsize::new(0);
        let progress = |rows| told.store(rows, Ordering::Relaxed);
        for memory_bytes in [0, 1 << 30] {
            let settings = Settings { memory_bytes, submission: 2_000_000, ..Settings::default() };
            let run = ops::lnq::run(&ctx, &job, &settings, &progress);
            let found = ctx.block_on(run).unwrap();
            assert_close(&found, &expected);
            assert_eq!(told.load(Ordering::Relaxed), 150 * options.half_steps());
            if memory_bytes == 0 {
                continue;
            }
            let quick = Settings { exact: false, ..settings };
            let quick = ctx.block_on(ops::lnq::run(&ctx, &job, &quick, &progress)).unwrap();
            assert_eq!(quick.quantized, found.quantized);
            assert_eq!(quick.report.steps, found.report.steps[..options.half_steps() + 1]);
        }
    }
}

#[test]
fn what_only_the_cpu_does_is_refused_with_its_name() {
    let layer = layer(1, (4, 32), 40, 1, |_| true);
    let ctx = contexts().remove(0);
    let weights = layer.weights();
    for (options, word) in [
        (options(5), "5 bits"),
        (LnqOptions { labels: LabelStep::Feedback, ..options(3) }, "feedback"),
        (LnqOptions { precision: Precision::F64, ..options(3) }, "f64"),
    ] {
        let run = ops::lnq::lnq(&ctx, &weights, &layer.hessian, &options, &|_| {});
        let error = ctx.block_on(run).unwrap_err();
        let Error::Layer { layer, error } = error else { panic!("{error}") };
        assert_eq!(layer, "layer");
        assert!(matches!(*error, Error::Unsupported { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(word) && message.contains("CPU"), "{message}");
    }
    let wide = options(9);
    let run = ops::lnq::lnq(&ctx, &weights, &layer.hessian, &wide, &|_| {});
    let error = ctx.block_on(run).unwrap_err();
    assert!(matches!(&error, Error::Layer { error, .. } if matches!(**error, Error::Range { .. })));
}

#[test]
fn a_start_may_be_given_and_the_final_cycle_taken() {
    let layer = layer(12, (30, 90), 300, 1, |_| true);
    let weights = layer.weights();
    let mut start = LnqJob::new(&weights, &layer.hessian, &options(2)).unwrap().start().clone();
    // Descending tables, all labels one.
    start.codes.fill(1);
    start.tables[0].1.reverse();
    let options = LnqOptions { final_cycle: true, ..options(2) };
    let ctx = contexts().remove(0);
    let run = ops::lnq::lnq_from(&ctx, &weights, &layer.hessian, &start, &options, &|_| {});
    let found = ctx.block_on(run).unwrap();
    let phases: Vec<_> = found.report.steps.iter().map(|step| step.phase).collect();
    assert_eq!(phases[0], Phase::Start);
    assert_eq!(phases[phases.len() - 2..], [Phase::Rounded, Phase::Final]);
    let expected = objectives(&weights, &layer.hessian, &start).unwrap().iter().sum::<f64>();
    assert!((found.report.before() - expected).abs() <= 1e-4 * expected);
    assert!(found.report.after() < 0.2 * expected);
}
