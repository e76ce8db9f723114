//! Single rows: invariants of codes and tables, symmetries, and degenerate rows.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{Method, QuantizeOptions, Quantized};
use super::{cost, effective, heavy, one_row, options};
use crate::linear::{TableElement, Weights};

/// Values and weights by code at `bits` bits.
fn clusters(q: &Quantized, x: &[f32], s: &[f64], bits: u8) -> BTreeMap<u8, Vec<(f64, f64)>> {
    let mut found = BTreeMap::<u8, Vec<_>>::new();
    for ((&code, &x), &s) in q.codes.iter().zip(x).zip(s) {
        found.entry(code >> (q.parent_bits - bits)).or_default().push((f64::from(x), s));
    }
    found
}

fn error(q: &Quantized, x: &[f32], s: Option<&[f32]>, bits: u8) -> f64 {
    q.error(&Weights::new("row", 1, x.len(), x, s).unwrap(), bits).unwrap().squared
}

/// All that holds for every row, method and width.
fn check(x: &[f32], s: Option<&[f32]>, options: QuantizeOptions) -> Quantized {
    let q = one_row(x, s, options);
    let weights = effective(x, s);
    let largest = x.iter().fold(0.0_f64, |m, &x| m.max(f64::from(x).abs()));
    let mut before = f64::INFINITY;
    for (bits, table) in &q.tables {
        assert_eq!(table.len(), 1 << bits);
        assert!(table.is_sorted() && table.iter().all(|t| t.is_finite()), "{table:?}");
        let clusters = clusters(&q, x, &weights, *bits);
        let mut now = 0.0;
        for (code, members) in &clusters {
            now += cost(members);
            let mean = super::centroid(members);
            let entry = f64::from(table[usize::from(*code)]);
            // Half a unit in the last place, and what differences of prefix sums lose. Runs of
            // less than 2^-30 of the row's weight are summed anew and lose nothing.
            let sums = f64::EPSILON * x.len() as f64 * largest;
            let share = members.iter().map(|m| m.1).sum::<f64>() / weights.iter().sum::<f64>();
            let loss = if share > 0.9e-9 { sums / share } else { sums };
            let off = (entry - mean).abs();
            assert!(off <= mean.abs() / f64::from(1 << 24) + loss, "{entry} for {mean}");
        }
        assert!(now <= before, "{bits} bits cost {now}, one less {before}");
        before = now;
    }
    q
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn invariants_hold(seed: u64, n in 1_usize..600, seed_bits in 2_u8..5, extra in 0_u8..5) {
        let (x, s) = heavy(seed, n);
        for method in [Method::Exact, Method::Fast] {
            let parent_bits = (seed_bits + extra).min(8);
            let options = QuantizeOptions { seed_bits, parent_bits, ..options(method) };
            check(&x, None, options);
            check(&x, Some(&s), options);
        }
    }

    #[test]
    fn invariants_hold_for_coarse_values(
        row in prop::collection::vec((-9_i8..9, 0_u8..3), 1..200),
    ) {
        let x: Vec<f32> = row.iter().map(|p| f32::from(p.0)).collect();
        let s: Vec<f32> = row.iter().map(|p| f32::from(p.1)).collect();
        for method in [Method::Exact, Method::Fast] {
            let plain = check(&x, None, options(method));
            let weighted = check(&x, Some(&s), options(method));
            // At most 19 distinct values: five bits do not always reach each, eight do.
            prop_assert_eq!(error(&plain, &x, None, 8), 0.0);
            let off = x.iter().zip(&s).zip(&weighted.codes).any(|((&x, &s), &code)| {
                x != 0.0 && s > 0.0 && weighted.tables[5].1[usize::from(code)] != x
            });
            prop_assert!(!off);
        }
    }

    #[test]
    fn a_permuted_row_has_permuted_codes(seed: u64, n in 2_usize..300, turn in 1_usize..300) {
        let (x, s) = heavy(seed, n);
        let mut distinct = x.clone();
        distinct.sort_by(f32::total_cmp);
        distinct.dedup();
        prop_assume!(distinct.len() == n);
        // Rotated and reversed.
        let at: Vec<usize> = (0..n).map(|i| (turn + n - i) % n).collect();
        let (y, t): (Vec<_>, Vec<_>) = at.iter().map(|&i| (x[i], s[i])).unzip();
        for method in [Method::Exact, Method::Fast] {
            for (s, t) in [(None, None), (Some(&s[..]), Some(&t[..]))] {
                let (p, q) = (one_row(&x, s, options(method)), one_row(&y, t, options(method)));
                prop_assert_eq!(&p.tables, &q.tables);
                let codes: Vec<u8> = at.iter().map(|&i| p.codes[i]).collect();
                prop_assert_eq!(codes, q.codes);
            }
        }
    }

    #[test]
    fn scaling_changes_nothing_else(seed: u64, n in 1_usize..300, power in -20_i32..20) {
        let (x, s) = heavy(seed, n);
        let scale = f32::powi(2.0, power);
        let scaled = |v: &[f32], by: f32| v.iter().map(|v| v * by).collect::<Vec<_>>();
        for method in [Method::Exact, Method::Fast] {
            let q = one_row(&x, Some(&s), options(method));
            prop_assert_eq!(&one_row(&x, Some(&scaled(&s, scale)), options(method)), &q);

            let larger = one_row(&scaled(&x, scale), Some(&s), options(method));
            prop_assert_eq!(&larger.codes, &q.codes);
            for (a, b) in larger.tables.iter().zip(&q.tables) {
                prop_assert_eq!(&a.1, &scaled(&b.1, scale));
            }

            // Any other factor rounds each sensitivity by up to 2^-24; at the seed, where the
            // least cost is one number, that is all that may change.
            if method == Method::Exact {
                let seed_error = error(&q, &x, Some(&s), 3);
                let t = scaled(&s, 0.3);
                let other = error(&one_row(&x, Some(&t), options(method)), &x, Some(&s), 3);
                prop_assert!((other - seed_error).abs() <= 4e-7 * seed_error);
            }
        }
    }

    #[test]
    fn exact_seeds_are_never_worse_than_fast_ones(seed: u64, n in 1_usize..1000) {
        let (x, s) = heavy(seed, n);
        for s in [None, Some(&s[..])] {
            let exact = error(&one_row(&x, s, options(Method::Exact)), &x, s, 3);
            let fast = error(&one_row(&x, s, options(Method::Fast)), &x, s, 3);
            prop_assert!(exact <= fast * (1.0 + 1e-12), "{exact} {fast}");
        }
    }
}

#[test]
fn exact_seeds_are_better_than_fast_ones_on_the_whole() {
    let sum = |method| -> f64 {
        let rows = (0..10).map(|seed| heavy(seed, 2000).0);
        rows.map(|x| error(&one_row(&x, None, options(method)), &x, None, 3)).sum()
    };
    assert!(sum(Method::Exact) < 0.995 * sum(Method::Fast));
}

#[test]
fn rows_with_few_values_are_kept_exactly() {
    let spread: Vec<f32> = (0..100).map(|i| [-1.5, 0.25, 3.0][i % 3]).collect();
    let rows: [(&[f32], usize); 6] = [
        (&[0.37; 50], 1),
        (&[-65504.0], 1),
        (&[0.0; 33], 1),
        (&spread[..2], 2),
        (&spread, 3),
        (&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 7),
    ];
    for (x, distinct) in rows {
        for method in [Method::Exact, Method::Fast] {
            let s = vec![2.0; x.len()];
            for s in [None, Some(&s[..])] {
                let q = check(x, s, options(method));
                for bits in 3..=8 {
                    assert_eq!(error(&q, x, s, bits), 0.0);
                }
                assert_eq!(q.report.idle_codes, 256 - distinct);
            }
        }
    }
    // Both zeros are one value, and the table says the positive one.
    let q = one_row(&[-0.0, 0.0, -0.0], None, options(Method::Exact));
    assert_eq!(q.codes[0], q.codes[1]);
    assert!(q.tables.iter().all(|(_, t)| t.iter().all(|t| t.to_bits() == 0)));
}

#[test]
fn two_far_values_and_a_spike() {
    for sign in [1.0, -1.0] {
        let mut x: Vec<f32> = (0..999).map(|i| sign * 1e-4 * (i as f32 / 500.0 - 1.0)).collect();
        x.push(sign * 1e4);
        for method in [Method::Exact, Method::Fast] {
            let q = check(&x, None, options(method));
            let spike = q.codes[999];
            assert!(q.codes[..999].iter().all(|&c| c >> 5 != spike >> 5));
            assert_eq!(q.tables[0].1[usize::from(spike >> 5)], sign * 1e4);
            // Seven codes share a width of 2e-4: no small value is far from its entry.
            for (&x, &c) in x[..999].iter().zip(&q.codes) {
                assert!((x - q.tables[0].1[usize::from(c >> 5)]).abs() < 1e-4 / 3.0);
            }
        }
    }
}

#[test]
fn weights_of_zero() {
    let (x, _) = heavy(7, 64);
    let (plain, none) = (one_row(&x, None, options(Method::Exact)), vec![0.0; 64]);
    let zeroed = one_row(&x, Some(&none), options(Method::Exact));
    assert_eq!((&plain.codes, &plain.tables), (&zeroed.codes, &zeroed.tables));
    assert_eq!((plain.report.unweighted_rows, zeroed.report.unweighted_rows), (0, 1));

    // Sensitivities only where the weight is zero are none at all.
    let mut y = x.clone();
    y[..8].fill(0.0);
    let only: Vec<f32> = (0..64).map(|i| if i < 8 { 1.0 } else { 0.0 }).collect();
    let (plain, zeroed) =
        (one_row(&y, None, options(Method::Fast)), one_row(&y, Some(&only), options(Method::Fast)));
    assert_eq!((plain.codes, plain.tables), (zeroed.codes, zeroed.tables));

    // One value matters: it is exact at every width, and so is the code of all its run.
    for method in [Method::Exact, Method::Fast] {
        for at in [0, 31, 63] {
            let mut s = vec![0.0; 64];
            s[at] = 1e-30;
            let q = check(&x, Some(&s), options(method));
            for (bits, table) in &q.tables {
                assert_eq!(table[usize::from(q.codes[at] >> (8 - bits))], x[at]);
            }
        }
    }
}

#[test]
fn a_run_with_one_weighty_value_is_not_split() {
    // Four runs at two bits: three single values, and five of which only the middle one weighs.
    let x = [-9.0, -8.0, -7.0, 1.0, 1.1, 1.2, 1.3, 1.4];
    let s = [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    let seeds = QuantizeOptions { seed_bits: 2, parent_bits: 5, ..options(Method::Exact) };
    let q = check(&x, Some(&s), seeds);
    for bits in 2..=5 {
        let own: Vec<_> = q.codes.iter().map(|c| c >> (5 - bits)).collect();
        let table = q.table(bits).unwrap();
        assert_eq!(error(&q, &x, Some(&s), bits), 0.0);
        assert_eq!(table[usize::from(own[5])], 1.2);
        // Everything right of it shares its code, left child after left child.
        assert!(own[6..].iter().all(|&c| c == own[5]), "{own:?}");
    }
}

/// Sensitivities that vanish in the row's sums must not vanish in a centroid of their own.
#[test]
fn faint_runs_keep_their_centroids() {
    let mut x: Vec<f32> = (0..8).map(|i| 0.1 * i as f32).collect();
    x.extend((0..20).map(|i| 50.0 + i as f32));
    for faint in [1e-6, 1e-12, 1e-18, 1e-24] {
        let s: Vec<f32> = (0..28).map(|i| if i < 8 { 1.0 } else { faint * i as f32 }).collect();
        for method in [Method::Exact, Method::Fast] {
            check(&x, Some(&s), QuantizeOptions { seed_bits: 2, ..options(method) });
        }
    }
}

#[test]
fn half_tables_hold_the_rounded_centroids() {
    let (x, s) = heavy(11, 500);
    let fine = one_row(&x, Some(&s), options(Method::Exact));
    let half = one_row(&x, Some(&s), QuantizeOptions::default());
    assert_eq!(half.table, TableElement::F16);
    assert_eq!(fine.codes, half.codes);
    for ((_, fine), (_, half)) in fine.tables.iter().zip(&half.tables) {
        for (&f, &h) in fine.iter().zip(half) {
            assert_eq!(half::f16::from_f32(h).to_f32(), h);
            // Rounded once from f64, so not always what rounding the f32 would give.
            let gap = (f.abs() / 1024.0).max(f32::powi(2.0, -24));
            assert!((f - h).abs() <= gap * 0.500_1, "{f} {h}");
        }
    }
}
