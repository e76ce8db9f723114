//! Edges of the domain, and what lies outside.

use super::*;

fn case_of(values: &[f32], hessian: &[f32]) -> Case {
    let cols = hessian.len().isqrt();
    let rows = values.len() / cols;
    let hessian = Hessian::from_full("edge", cols, 1, hessian).unwrap();
    Case { rows, cols, values: values.to_vec(), hessian }
}

fn text<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn a_zero_hessian_means_nearest_entries() {
    let case = case_of(&[0.3, -0.2, 0.9, 0.1, 0.0, 0.5, -0.4, 0.2], &[0.0; 16]);
    for labels in [LabelStep::Descent, LabelStep::Feedback] {
        let done = run(&case, &LnqOptions { bits: 1, labels, ..LnqOptions::default() });
        let report = &done.report;
        assert_eq!((report.zero_groups, report.inactive_inputs, report.unsolved), (1, 4, 0));
        assert_eq!(report.groups_without_factor, usize::from(labels == LabelStep::Feedback));
        assert_eq!((report.before(), report.after()), (0.0, 0.0));
        for row in 0..2 {
            let table = &done.quantized.tables[0].1[row * 2..(row + 1) * 2];
            for (q, &w) in values_of(&done.quantized, row).iter().zip(&case.values[row * 4..]) {
                let nearest = table.iter().map(|t| (t - w).abs()).fold(f32::INFINITY, f32::min);
                assert!((q - f64::from(w)).abs() <= f64::from(nearest) + 1e-7);
            }
        }
    }
}

#[test]
fn an_input_that_was_never_active_gets_its_nearest_entry() {
    let mut case = case(1, 3, 70, 300, 1);
    let mut full: Vec<f32> = case.full(0).iter().map(|&h| h as f32).collect();
    for i in 0..70 {
        (full[66 * 70 + i], full[i * 70 + 66]) = (0.0, 0.0);
    }
    case.hessian = Hessian::from_full("case", 70, 1, &full).unwrap();
    for labels in [LabelStep::Descent, LabelStep::Feedback] {
        let done = run(&case, &LnqOptions { labels, ..LnqOptions::default() });
        assert_eq!((done.report.inactive_inputs, done.report.zero_groups), (1, 0));
        for row in 0..3 {
            let table = &done.quantized.tables[0].1[row * 8..(row + 1) * 8];
            let w = case.values[row * 70 + 66];
            let off = (values_of(&done.quantized, row)[66] - f64::from(w)).abs();
            assert!(table.iter().all(|t| off <= f64::from((t - w).abs()) + 1e-9));
        }
    }
}

#[test]
fn rows_with_few_values_have_no_error() {
    let constant = case_of(&[0.5; 6], &[2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0]);
    let two = case_of(&[0.5, -1.0, 0.5], &[2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0]);
    let single = case_of(&[0.25, -0.5, 0.0], &[3.0]);
    let zeros = case_of(&[0.0; 3], &[2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0]);
    for case in [constant, two, single, zeros] {
        for bits in [1, 3, 8] {
            for labels in [LabelStep::Descent, LabelStep::Feedback] {
                let done = run(&case, &LnqOptions { bits, labels, ..LnqOptions::default() });
                assert_eq!(done.report.after(), 0.0);
                assert!(done.quantized.tables[0].1.iter().all(|t| t.is_finite()));
            }
        }
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let case = case(2, 2, 8, 20, 1);
    let refused = |options: LnqOptions| {
        let text = text(lnq(&case.weights(), &case.hessian, &options));
        assert!(text.starts_with("layer case: "), "{text}");
        text
    };
    for bits in [0, 9, 255] {
        let text = refused(LnqOptions { bits, ..LnqOptions::default() });
        assert!(text.contains(&format!("bits = {bits} is outside 1..=8")), "{text}");
    }
    let text = refused(LnqOptions { cycles: 0, ..LnqOptions::default() });
    assert!(text.contains("cycles = 0 is outside 1.."), "{text}");
    for iterations in [1001, 4_611_686_018_427_387_904, usize::MAX] {
        let text = refused(LnqOptions { iterations, ..LnqOptions::default() });
        assert!(text.contains(&format!("iterations = {iterations} is outside 0..=1000")), "{text}");
    }
    // Only tables, once: allowed.
    let one = run(&case, &LnqOptions { iterations: 0, ..LnqOptions::default() });
    assert_eq!(one.report.steps.len(), 3);
}

#[test]
fn a_hessian_of_another_layer_is_refused() {
    let one = case(3, 4, 8, 20, 2);
    let weights = |rows, cols| Weights::new("case", rows, cols, &one.values[..rows * cols], None);
    let error = text(lnq(&weights(3, 8).unwrap(), &one.hessian, &options()));
    let words =
        "layer case: groups of the Hessian: expected a divisor of the 3 rows: 1, 3, found 2";
    assert_eq!(error, words);
    let error = text(lnq(&weights(4, 4).unwrap(), &one.hessian, &options()));
    assert_eq!(error, "layer case: inputs of the Hessian: expected 4, found 8");
}

#[test]
fn a_start_that_does_not_fit_is_refused() {
    let case = case(4, 2, 8, 20, 1);
    let refused = |change: &dyn Fn(&mut Quantized), words: &str| {
        let mut start = case.start(2);
        change(&mut start);
        let options = LnqOptions { bits: 2, ..options() };
        let text = text(lnq_from(&case.weights(), &case.hessian, &start, &options, &|_| {}));
        assert!(text.starts_with("layer case: ") && text.contains(words), "{text}");
    };
    refused(
        &|s| s.codes[11] = 4,
        "label of the start at row 1, column 3 is 4: must be below 2^bits",
    );
    refused(&|s| s.codes.truncate(15), "start: expected 2 x 8, found 2 x 8, 15 codes");
    refused(&|s| s.rows = 3, "start: expected 2 x 8, found 3 x 8");
    refused(&|s| s.parent_bits = 3, "bits of the start: expected 2, found 3");
    refused(&|s| s.tables.clear(), "entries of the start's table: expected 2 x 4, found 0");
    refused(&|s| s.tables[0].1[5] = f32::NAN, "table of the start at row 1, column 1 is NaN");
    for bits in [0, 9, 200] {
        let start = Quantized { parent_bits: bits, ..case.start(2) };
        text(objectives(&case.weights(), &case.hessian, &start));
        text(round_with_feedback(&case.weights(), &case.hessian, &start));
    }
}

#[test]
fn entries_beyond_halves_are_named() {
    let mut case = case(5, 70, 10, 40, 1);
    case.values[66 * 10..67 * 10].iter_mut().for_each(|w| *w *= 1e8);
    let text = text(lnq(&case.weights(), &case.hessian, &LnqOptions::default()));
    assert!(text.starts_with("layer case: entry of the 3-bit table at row 66, column 0"), "{text}");
    assert!(text.contains("use f32 tables"), "{text}");
    let wide = LnqOptions { table: TableElement::F32, ..LnqOptions::default() };
    assert!(run(&case, &wide).report.after().is_finite());
}

#[test]
fn feedback_without_a_factor_is_told() {
    let case = case_of(&[1.0, -1.0], &[1.0, 5.0, 5.0, 1.0]);
    let done = run(&case, &LnqOptions { labels: LabelStep::Feedback, ..options() });
    assert_eq!(done.report.groups_without_factor, 1);
    let error = text(round_with_feedback(&case.weights(), &case.hessian, &case.start(1)));
    assert!(error.contains("rounding with feedback in group 0 is not available"), "{error}");
}

#[test]
fn a_diagonal_of_zero_beside_other_numbers_is_named() {
    let error = |full: &[f32]| text(Hessian::from_full("edge", 2, 1, full));
    let words = "layer edge: Hessian of group 0 at row 1, column 0 is 0.5: must be 0 where the \
                 diagonal is 0";
    assert_eq!(error(&[1.0, 0.5, 0.5, 0.0]), words);
    assert!(error(&[0.0, 2.0, 2.0, 0.0]).contains("row 0, column 1 is 2"));
    // Squares that vanished beside products that did not.
    let hessian = Hessian::from_full("edge", 2, 1, &[1.0, 1e-24, 1e-24, 0.0]).unwrap();
    let case = Case { rows: 1, cols: 2, values: vec![0.5, -0.5], hessian };
    assert_eq!(run(&case, &LnqOptions::default()).report.inactive_inputs, 1);
}

#[test]
fn sensitivities_that_underflow_are_told_as_groups_without_a_hessian() {
    let (rows, cols, tokens) = (4, 40, 120);
    let one = case(8, rows, cols, 100, 1);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let x: Vec<f32> = (0..tokens * cols).map(|_| rng.random_range(-0.1..0.1)).collect();
    let with = |first: f32| {
        let mut sums = HessianAccumulator::new("case", cols, 2).unwrap();
        let s: Vec<f32> = (0..tokens).flat_map(|_| [first, 1.0]).collect();
        sums.add_batch(&x, Some(&s)).unwrap();
        let values = one.values.clone();
        run(&Case { rows, cols, values, hessian: sums.finish().unwrap() }, &options())
    };
    let (usual, small) = (with(1.0), with(2f32.powi(-100)));
    // As long as squares weighted with them are f32 numbers, no code depends on their scale.
    assert_eq!(small.quantized, usual.quantized);
    assert_eq!((small.report.zero_groups, small.report.inactive_inputs), (0, 0));
    for gone in [1e-38, 1e-42, 0.0] {
        let told = with(gone);
        assert_eq!((told.report.zero_groups, told.report.inactive_inputs), (1, cols), "{gone}");
        // The other group is as ever.
        assert_eq!(told.quantized.codes[2 * cols..], usual.quantized.codes[2 * cols..]);
        assert!(told.report.after() <= told.report.before());
    }
}
