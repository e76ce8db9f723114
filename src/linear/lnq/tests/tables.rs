//! The table half step.

use super::super::problem::Problem;
use super::super::state::Block;
use super::*;

/// Labels and tables of one row after a table step.
fn solved(case: &Case, start: &Quantized) -> (Vec<u8>, Vec<f64>, Vec<usize>) {
    let problem = Problem::new(&case.hessian, 0, &options());
    let table = &start.tables[0].1;
    let mut block =
        Block::<f64>::new(&problem, &case.values, &start.codes, table, 1 << start.parent_bits);
    block.refresh();
    let unsolved = block.solve_tables();
    let mut labels = vec![0; start.codes.len()];
    block.write_labels(&mut labels);
    (labels, block.state.tables, unsolved)
}

#[test]
fn the_gradient_in_every_entry_is_zero() {
    for (seed, (cols, bits)) in [(40, 1), (64, 2), (200, 3), (150, 5)].into_iter().enumerate() {
        let case = case(40 + seed as u64, 1, cols, 2 * cols, 1);
        for start in [case.start(bits), case.random_start(seed as u64, bits)] {
            let (labels, table, unsolved) = solved(&case, &start);
            assert!(unsolved.is_empty());
            assert!(table.is_sorted());
            let h = case.solved(0);
            let (mut gradient, mut scale) = (vec![0.0; table.len()], vec![0.0; table.len()]);
            for i in 0..cols {
                for j in 0..cols {
                    let d = table[usize::from(labels[j])] - f64::from(case.values[j]);
                    let term = h[i * cols + j] * d;
                    gradient[usize::from(labels[i])] += term;
                    scale[usize::from(labels[i])] += term.abs();
                }
            }
            for (gradient, scale) in gradient.iter().zip(&scale) {
                assert!(gradient.abs() <= 1e-8 * scale, "{gradient} of {scale}");
            }
        }
    }
}

#[test]
fn entries_that_nothing_uses_stay_and_the_rest_is_solved() {
    let case = case(50, 1, 60, 200, 1);
    let mut start = case.start(3);
    start.codes.iter_mut().for_each(|code| *code = if *code < 4 { 1 } else { 6 });
    let before: Vec<f64> = start.tables[0].1.iter().map(|&v| v.into()).collect();
    let (labels, table, unsolved) = solved(&case, &start);
    assert!(unsolved.is_empty());
    for q in [0, 2, 3, 4, 5, 7] {
        assert!(table.contains(&before[q]), "{} is gone from {table:?}", before[q]);
    }
    let used: std::collections::BTreeSet<u8> = labels.iter().copied().collect();
    assert_eq!(used.len(), 2);
    // Two unknowns by Cramer's rule.
    let h = case.solved(0);
    let (mut g, mut v) = ([[0.0; 2]; 2], [0.0; 2]);
    let side = |i: usize| usize::from(start.codes[i] == 6);
    for i in 0..60 {
        for j in 0..60 {
            g[side(i)][side(j)] += h[i * 60 + j];
            v[side(i)] += h[i * 60 + j] * f64::from(case.values[j]);
        }
    }
    let det = g[0][0] * g[1][1] - g[0][1] * g[1][0];
    let expected =
        [(v[0] * g[1][1] - v[1] * g[0][1]) / det, (v[1] * g[0][0] - v[0] * g[1][0]) / det];
    for i in 0..60 {
        let (found, expected) = (table[usize::from(labels[i])], expected[side(i)]);
        assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{found} {expected}");
    }
}

#[test]
fn a_matrix_that_cannot_be_a_sum_leaves_the_table() {
    // Diagonal 1, mirror images equal, and yet indefinite: only the table step can tell.
    let hessian = Hessian::from_full("odd", 2, 1, &[1.0, 3.0, 3.0, 1.0]).unwrap();
    let case = Case { rows: 1, cols: 2, values: vec![1.0, -1.0], hessian };
    let mut start = case.start(1);
    start.codes = vec![0, 1];
    start.tables[0].1 = vec![-0.5, 0.5];
    let (labels, table, unsolved) = solved(&case, &start);
    assert_eq!((labels, table, unsolved), (vec![0, 1], vec![-0.5, 0.5], vec![0]));
}
