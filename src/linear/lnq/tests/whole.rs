//! Whole runs: what may and what may not change them.

use std::sync::Mutex;

use super::*;

#[test]
fn a_layer_is_its_rows_and_threads_change_nothing() {
    // More rows than are worked on together, in two groups.
    let case = case(1, 140, 70, 200, 2);
    let options = LnqOptions::default();
    let all = run(&case, &options);
    #[cfg(feature = "rayon")]
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| run(&case, &options)), all);
    }
    for row in [0, 69, 70, 139] {
        let group = case.hessian.group(row / 70).to_vec();
        let hessian = Hessian::from_packed("case", 70, 1, 0, group).unwrap();
        let span = row * 70..(row + 1) * 70;
        let one = Case { rows: 1, cols: 70, values: case.values[span.clone()].to_vec(), hessian };
        let one = run(&one, &options);
        assert_eq!(one.quantized.codes, all.quantized.codes[span]);
        assert_eq!(one.quantized.tables[0].1, all.quantized.tables[0].1[row * 8..(row + 1) * 8]);
        for (one, all) in one.report.steps.iter().zip(&all.report.steps) {
            assert_eq!(one.rows[0], all.rows[row]);
        }
    }
}

#[test]
fn a_run_starts_from_the_clusters_of_the_any_precision_quantizer() {
    let case = case(2, 5, 80, 200, 1);
    let diagonal = case.hessian.diagonal(0).repeat(5);
    let weighted = Weights::new("case", 5, 80, &case.values, Some(&diagonal)).unwrap();
    let clusters = crate::linear::QuantizeOptions {
        seed_bits: 3,
        parent_bits: 3,
        table: TableElement::F32,
        ..Default::default()
    };
    let clusters = crate::linear::quantize(&weighted, &clusters).unwrap();
    assert_eq!(case.start(3), clusters);
    let expected = row_objectives(&case, &clusters);
    let done = run(&case, &LnqOptions { bits: 3, ..options() });
    for (found, expected) in done.report.steps[0].rows.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-12 * expected);
    }
    // Sensitivities of the weights themselves count for more than the diagonal.
    let own = vec![1.0; 5 * 80];
    let given = Weights::new("case", 5, 80, &case.values, Some(&own)).unwrap();
    let done = lnq(&given, &case.hessian, &options()).unwrap();
    let plain = seed(&case.weights(), 3, Method::Exact).unwrap();
    let expected: f64 = row_objectives(&case, &plain).iter().sum();
    assert!((done.report.before() - expected).abs() <= 1e-12 * expected);
}

#[test]
fn scaling_the_hessian_changes_no_codes() {
    let case = case(3, 6, 90, 300, 2);
    let one = run(&case, &LnqOptions::default());
    for factor in [1024.0, 1.0 / 65536.0] {
        let packed = case.hessian.packed().iter().map(|h| h * factor).collect();
        let hessian = Hessian::from_packed("case", 90, 2, 0, packed).unwrap();
        let scaled = lnq(&case.weights(), &hessian, &LnqOptions::default()).unwrap();
        assert_eq!(scaled.quantized, one.quantized);
    }
}

#[test]
fn scaling_the_weights_scales_the_tables() {
    let case = case(4, 6, 90, 300, 1);
    let one = run(&case, &options());
    let values: Vec<f32> = case.values.iter().map(|w| w * 8.0).collect();
    let weights = Weights::new("case", 6, 90, &values, None).unwrap();
    let scaled = lnq(&weights, &case.hessian, &options()).unwrap().quantized;
    assert_eq!(scaled.codes, one.quantized.codes);
    let table: Vec<f32> = one.quantized.tables[0].1.iter().map(|v| v * 8.0).collect();
    assert_eq!(scaled.tables[0].1, table);
}

#[test]
fn another_order_of_inputs_is_solved_too() {
    let (rows, cols) = (4, 75);
    let case = case(5, rows, cols, 300, 1);
    let order: Vec<usize> = (0..cols).map(|i| (i * 32 + 7) % cols).collect();
    let h = case.full(0);
    let place = |at: usize| h[order[at / cols] * cols + order[at % cols]] as f32;
    let full: Vec<f32> = (0..cols * cols).map(place).collect();
    let weight = |at: usize| case.values[at / cols * cols + order[at % cols]];
    let other = Case {
        rows,
        cols,
        values: (0..rows * cols).map(weight).collect(),
        hessian: Hessian::from_full("case", cols, 1, &full).unwrap(),
    };
    let (one, two) = (run(&case, &options()).report, run(&other, &options()).report);
    assert!((one.before() - two.before()).abs() <= 1e-9 * one.before());
    assert!(two.after() < 0.6 * two.before());
}

#[test]
fn rounded_tables_are_halves_in_order_and_pack() {
    let case = case(6, 5, 100, 300, 1);
    for bits in [2, 4, 8] {
        let done = run(&case, &LnqOptions { bits, final_cycle: true, ..LnqOptions::default() });
        let table = done.quantized.table(bits).unwrap();
        assert!(table.chunks_exact(1 << bits).all(<[f32]>::is_sorted));
        assert!(table.iter().all(|&v| half::f16::from_f32(v).to_f32() == v));
        let [.., rounded, last] = &done.report.steps[..] else { panic!("too few steps") };
        assert_eq!((rounded.phase, last.phase), (Phase::Rounded, Phase::Final));
        assert!(last.objective() <= rounded.objective() * (1.0 + 1e-6));
        let expected: f64 = row_objectives(&case, &done.quantized).iter().sum();
        assert!((done.report.after() - expected).abs() <= 1e-9 * expected);
        let again = objectives(&case.weights(), &case.hessian, &done.quantized).unwrap();
        assert_eq!(again, last.rows);
        let layer = done.quantized.pack(None).unwrap();
        assert_eq!((layer.seed_bits(), layer.parent_bits()), (bits, bits));
        assert_eq!(layer.codes(bits).unwrap(), done.quantized.codes);
    }
    // One bit is for the solver alone.
    let done = run(&case, &LnqOptions { bits: 1, ..LnqOptions::default() });
    assert!(done.report.after() < done.report.before());
    assert!(done.quantized.pack(None).unwrap_err().to_string().contains("table width = 1"));
}

#[test]
fn progress_ends_at_all_half_steps_of_all_rows() {
    let case = case(7, 130, 20, 50, 2);
    let options = LnqOptions { iterations: 1, ..LnqOptions::default() };
    let seen = Mutex::new(Vec::new());
    let tell = |done| seen.lock().unwrap().push(done);
    let told = lnq_with_progress(&case.weights(), &case.hessian, &options, &tell).unwrap();
    assert_eq!(told, run(&case, &options));
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen.last(), Some(&(130 * options.half_steps())));
    seen.dedup();
    // Each group's 65 rows are worked on as 64 and one.
    assert_eq!(seen.len(), 4 * options.half_steps());
}
