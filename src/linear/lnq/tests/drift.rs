//! What single precision loses in judging a half step.

use super::super::problem::Problem;
use super::super::state::Block;
use super::*;

/// How far the objectives at hand are from the exact ones, over all rows.
fn off_by(block: &Block<'_, f32>) -> f64 {
    let pairs = block.objectives().into_iter().zip(block.exact_objectives());
    pairs.map(|(found, exact)| (found - exact).abs()).sum()
}

#[test]
fn products_kept_through_many_cycles_judge_as_well_as_fresh_ones() {
    // Few tokens for many inputs: nearly all directions cost next to nothing, and what is left of
    // an objective is small beside the terms that it is the sum of.
    for (seed, cols, tokens, share) in [(1, 256, 16, 1e-6), (2, 256, 16, 1e-4), (4, 512, 32, 1e-6)]
    {
        let mut case = case(seed, 24, cols, tokens, 1);
        case.hessian = case.hessian.damped(share).unwrap();
        for bits in [2, 4] {
            let start = case.start(bits);
            let problem = Problem::new(&case.hessian, 0, &options());
            let table = &start.tables[0].1;
            let mut block =
                Block::<f32>::new(&problem, &case.values, &start.codes, table, 1 << bits);
            block.refresh();
            let before: f64 = block.exact_objectives().iter().sum();
            for _ in 0..3 {
                block.solve_tables();
                for _ in 0..16 {
                    block.descend();
                }
                let kept = off_by(&block);
                let mut fresh = block.clone();
                fresh.refresh();
                let fresh = off_by(&fresh);
                println!("{cols} {bits}: {:.1e} {:.1e}", kept / before, fresh / before);
                assert!(kept <= 4.0 * fresh + 1e-7 * before, "{kept} {fresh} of {before}");
                // Beside what there was at the start either is rounding.
                assert!(kept.max(fresh) <= 1e-5 * before, "{kept} {fresh} of {before}");
            }
        }
    }
}
