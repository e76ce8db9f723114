//! Coordinate descent in blocks against coordinate descent by the book.

use super::super::problem::Problem;
use super::super::state::Block;
use super::*;

/// One cycle by the formula, all sums anew for every input.
fn plain_cycle(h: &[f64], w: &[f32], table: &[f32], labels: &mut [u8]) {
    let n = w.len();
    for i in 0..n {
        let others = (0..n)
            .filter(|&j| j != i)
            .map(|j| h[i * n + j] * (f64::from(table[usize::from(labels[j])]) - f64::from(w[j])));
        let target = f64::from(w[i]) - others.sum::<f64>() / h[i * n + i];
        let distance = |label: u8| (f64::from(table[usize::from(label)]) - target).abs();
        for label in 0..table.len() {
            if distance(label as u8) < distance(labels[i]) {
                labels[i] = label as u8;
            }
        }
    }
}

fn descended(case: &Case, start: &Quantized, cycles: usize) -> Vec<u8> {
    let problem = Problem::new(&case.hessian, 0, &options());
    let (bits, table) = (start.parent_bits, &start.tables[0].1);
    let mut block = Block::<f64>::new(&problem, &case.values, &start.codes, table, 1 << bits);
    block.refresh();
    for _ in 0..cycles {
        block.descend();
    }
    let mut labels = vec![0; start.codes.len()];
    block.write_labels(&mut labels);
    labels
}

#[test]
fn blocked_descent_gives_the_labels_of_plain_descent() {
    for (seed, cols) in [1, 2, 31, 63, 64, 65, 128, 200].into_iter().enumerate() {
        for bits in [1, 3, 5] {
            let case = case(seed as u64, 3, cols, 2 * cols + 10, 1);
            for start in [case.start(bits), case.random_start(seed as u64, bits)] {
                let mut plain = start.codes.clone();
                for (row, labels) in plain.chunks_exact_mut(cols).enumerate() {
                    let w = &case.values[row * cols..(row + 1) * cols];
                    let table = &start.tables[0].1[row << bits..(row + 1) << bits];
                    for _ in 0..3 {
                        plain_cycle(&case.solved(0), w, table, labels);
                    }
                }
                assert_eq!(descended(&case, &start, 3), plain, "{cols} inputs, {bits} bits");
            }
        }
    }
}

#[test]
fn every_label_is_the_best_of_all_candidates() {
    let case = case(9, 1, 24, 60, 1);
    let start = case.random_start(1, 2);
    let (h, mut labels) = (case.solved(0), start.codes.clone());
    let table = &start.tables[0].1;
    let cost = |labels: &[u8]| {
        let q: Vec<f64> = labels.iter().map(|&l| f64::from(table[usize::from(l)])).collect();
        objective(&h, &case.values, &q)
    };
    for i in 0..24 {
        let costs: Vec<f64> = (0..4)
            .map(|label| {
                labels[i] = label;
                cost(&labels)
            })
            .collect();
        labels[i] = (0..4).min_by(|&a, &b| costs[a].total_cmp(&costs[b])).unwrap() as u8;
    }
    assert_eq!(descended(&case, &start, 1), labels);
}

#[test]
fn a_tie_keeps_the_label() {
    // Weight 0.5 lies between 0 and 1, and 2.0 is there twice.
    let hessian = Hessian::from_full("tie", 2, 1, &[1.0, 0.0, 0.0, 1.0]).unwrap();
    let case = Case { rows: 1, cols: 2, values: vec![0.5, 2.0], hessian };
    for codes in [[0, 2], [1, 2], [0, 3], [1, 3]] {
        let mut start = case.start(2);
        start.codes = codes.to_vec();
        start.tables[0].1 = vec![0.0, 1.0, 2.0, 2.0];
        assert_eq!(descended(&case, &start, 2), codes);
    }
}

/// Sequential rounding with the inverse, as it was published: after each input the rest is moved to
/// where the objective is least.
fn published(h: &[f64], w: &[f32], table: &[f32], damping: f64) -> Vec<u8> {
    let n = w.len();
    let mean = h.iter().step_by(n + 1).sum::<f64>() / n as f64;
    let mut h = h.to_vec();
    h.iter_mut().step_by(n + 1).for_each(|h| *h += damping * mean);
    let mut w: Vec<f64> = w.iter().map(|&w| w.into()).collect();
    let mut labels = Vec::new();
    for i in 0..n {
        let distance = |l: &usize| (f64::from(table[*l]) - w[i]).abs();
        let best = (0..table.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap();
        labels.push(best as u8);
        let error = f64::from(table[best]) - w[i];
        // The others' best answer: H_rest dw = -H_rest,i error, by elimination.
        let rest = n - i - 1;
        let mut a = vec![vec![0.0; rest + 1]; rest];
        for r in 0..rest {
            for c in 0..rest {
                a[r][c] = h[(i + 1 + r) * n + i + 1 + c];
            }
            a[r][rest] = -h[(i + 1 + r) * n + i] * error;
        }
        for p in 0..rest {
            for r in 0..rest {
                if r != p {
                    let factor = a[r][p] / a[p][p];
                    let pivot = a[p].clone();
                    a[r].iter_mut().zip(pivot).skip(p).for_each(|(v, p)| *v -= factor * p);
                }
            }
        }
        for r in 0..rest {
            w[i + 1 + r] += a[r][rest] / a[r][r];
        }
    }
    labels
}

#[test]
fn rounding_with_feedback_is_the_published_one() {
    for (seed, cols) in [1, 5, 40, 70].into_iter().enumerate() {
        let case = case(30 + seed as u64, 2, cols, 3 * cols + 5, 1);
        let start = case.start(2);
        let rounded = round_with_feedback(&case.weights(), &case.hessian, &start).unwrap();
        for row in 0..2 {
            let span = row * cols..(row + 1) * cols;
            let table = &start.tables[0].1[row * 4..(row + 1) * 4];
            let expected = published(&case.full(0), &case.values[span.clone()], table, 0.01);
            assert_eq!(rounded.codes[span], expected, "{cols} inputs");
        }
    }
}
