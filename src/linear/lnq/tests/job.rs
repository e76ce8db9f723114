//! What solvers elsewhere begin with and how their layers are finished.

use super::*;

#[test]
fn rows_of_the_matrix_are_full_and_padded() {
    let case = case(1, 4, 70, 200, 2);
    let weights = case.weights();
    let job = LnqJob::new(&weights, &case.hessian, &LnqOptions::default()).unwrap();
    for group in 0..2 {
        let full = case.solved(group);
        for rows in [0..128, 0..64, 64..128, 3..5, 69..71] {
            let found = job.hessian_rows(group, rows.clone());
            assert_eq!(found.len(), rows.len() * 128);
            for (at, &h) in found.iter().enumerate() {
                let (i, j) = (rows.start + at / 128, at % 128);
                let expected = if i < 70 && j < 70 { full[i * 70 + j] } else { 0.0 };
                assert_eq!(f64::from(h), expected, "{rows:?} {at}");
            }
        }
        let inverse = job.inverse(group);
        assert_eq!((inverse.len(), &inverse[70..]), (128, &[0.0; 58][..]));
        for (i, inverse) in inverse.iter().enumerate().take(70) {
            assert_eq!(*inverse, (1.0 / full[i * 71]) as f32);
        }
    }
    assert_eq!((job.rows(0), job.rows(1)), (0..2, 2..4));
}

#[test]
fn finishing_the_start_is_a_run_without_half_steps() {
    let case = case(2, 6, 40, 150, 1);
    let weights = case.weights();
    for final_cycle in [false, true] {
        let options = LnqOptions { final_cycle, ..LnqOptions::default() };
        let job = LnqJob::new(&weights, &case.hessian, &options).unwrap();
        let (labels, table) = (job.start().codes.clone(), job.start().table(3).unwrap().to_vec());
        let done = job.finish(labels.clone(), table.clone(), Vec::new(), 2, true).unwrap();
        assert_eq!(done.report.steps.len(), 1 + usize::from(final_cycle));
        assert_eq!(done.report.unsolved, 2);
        let found = row_objectives(&case, &done.quantized);
        for (found, reported) in found.iter().zip(&done.report.steps.last().unwrap().rows) {
            assert!((found - reported).abs() <= 1e-9 * found);
        }
        assert_eq!(done.quantized.codes != labels, final_cycle);
        let quick = job.finish(labels.clone(), table.clone(), Vec::new(), 0, false).unwrap();
        assert_eq!(quick.quantized, done.quantized);
        assert_eq!(quick.report.steps.len(), if final_cycle { 2 } else { 0 });
        let bad = [&labels[1..], &[8]].concat();
        assert!(job.finish(bad, table.clone(), Vec::new(), 0, true).is_err());
        assert!(job.finish(labels[1..].to_vec(), table, Vec::new(), 0, true).is_err());
    }
}

#[test]
fn a_given_start_is_sorted_and_means_the_same() {
    let case = case(3, 5, 33, 100, 1);
    let weights = case.weights();
    let mut start = case.random_start(1, 2);
    start.tables[0].1.chunks_exact_mut(4).for_each(<[f32]>::reverse);
    let options = LnqOptions { bits: 2, ..LnqOptions::default() };
    let job = LnqJob::from_start(&weights, &case.hessian, &start, &options).unwrap();
    assert!(job.start().table(2).unwrap().chunks_exact(4).all(<[f32]>::is_sorted));
    for row in 0..case.rows {
        assert_eq!(values_of(job.start(), row), values_of(&start, row));
    }
}
