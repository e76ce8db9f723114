//! Small dense systems, for one row's table.

/// Damping to begin with and to end with, relative to the mean of the diagonal.
const LEAST: f64 = 1e-7;
const MOST: f64 = 1.0;

/// Least pivot relative to the diagonal. Sums of f32 numbers know no better, and what lies below may
/// be negative: along such a direction tables would grow without end.
const PIVOT: f64 = 1e-6;

/// A solution of `G x = r` for a symmetric positive semi-definite `G[m, m]`, nearly: `G` is damped
/// by `LEAST` of its mean diagonal, ten times as much each time that it is not positive definite.
/// `None` where all damping is too little.
///
/// Whatever the damping, `2 r^T x - x^T G x` is not negative: the step never makes the quadratic
/// worse. Two rounds of refinement take out what light damping adds.
///
/// A solution that `fits` refuses counts as too little damping.
pub(in crate::linear) fn solve_damped(
    g: &[f64],
    r: &[f64],
    fits: impl Fn(&[f64]) -> bool,
) -> Option<Vec<f64>> {
    let m = r.len();
    let mean = g.iter().step_by(m + 1).sum::<f64>() / m as f64;
    let mut damping = LEAST;
    while damping <= MOST * 1.5 {
        if let Some(factor) = factor(g, m, damping * mean) {
            let mut x = solve(&factor, r);
            for _ in 0..2 {
                let rest: Vec<f64> = g
                    .chunks_exact(m)
                    .zip(r)
                    .map(|(g, r)| r - g.iter().zip(&x).map(|(g, x)| g * x).sum::<f64>())
                    .collect();
                let more = solve(&factor, &rest);
                x.iter_mut().zip(more).for_each(|(x, more)| *x += more);
            }
            if x.iter().all(|x| x.is_finite()) && fits(&x) {
                return Some(x);
            }
        }
        damping *= 10.0;
    }
    None
}

/// Lower triangular `L` with `L L^T = G + lambda I`.
fn factor(g: &[f64], m: usize, lambda: f64) -> Option<Vec<f64>> {
    let mut l = vec![0.0; m * m];
    for i in 0..m {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i * m + k] * l[j * m + k]).sum();
            let rest = g[i * m + j] - dot;
            if i != j {
                l[i * m + j] = rest / l[j * m + j];
            } else {
                let rest = rest + lambda;
                if rest.is_nan() || rest <= PIVOT * g[i * m + i] || rest <= 0.0 {
                    return None;
                }
                l[i * m + i] = rest.sqrt();
            }
        }
    }
    Some(l)
}

fn solve(l: &[f64], r: &[f64]) -> Vec<f64> {
    let m = r.len();
    let mut x = r.to_vec();
    for i in 0..m {
        let dot: f64 = (0..i).map(|k| l[i * m + k] * x[k]).sum();
        x[i] = (x[i] - dot) / l[i * m + i];
    }
    for i in (0..m).rev() {
        let dot: f64 = (i + 1..m).map(|k| l[k * m + i] * x[k]).sum();
        x[i] = (x[i] - dot) / l[i * m + i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(_: &[f64]) -> bool {
        true
    }

    #[test]
    fn a_system_is_solved_and_a_singular_one_is_damped() {
        let x = solve_damped(&[4.0, 2.0, 2.0, 3.0], &[2.0, 5.0], any).unwrap();
        assert!((x[0] + 0.5).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12, "{x:?}");
        // Rank 1: any split between the two is a solution, damping takes the even one.
        let x = solve_damped(&[1.0, 1.0, 1.0, 1.0], &[3.0, 3.0], any).unwrap();
        assert!((x[0] - 1.5).abs() < 1e-6 && (x[1] - 1.5).abs() < 1e-6, "{x:?}");
    }

    #[test]
    fn an_indefinite_matrix_is_damped_more_or_given_up() {
        let slightly = [1.0, 1.001, 1.001, 1.0];
        assert!(solve_damped(&slightly, &[1.0, 0.0], any).is_some());
        assert!(solve_damped(&[1.0, 5.0, 5.0, 1.0], &[1.0, 0.0], any).is_none());
        assert!(solve_damped(&[0.0], &[1.0], any).is_none());
        assert!(solve_damped(&[f64::NAN], &[1.0], any).is_none());
    }

    #[test]
    fn a_solution_that_does_not_fit_is_damped_more() {
        // Nearly singular along (1, -1), where a little goes a long way.
        let (g, r) = ([1.0, 0.99999, 0.99999, 1.0], [0.01, -0.01]);
        let largest = |x: &[f64]| x.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        assert!(largest(&solve_damped(&g, &r, any).unwrap()) > 900.0);
        let x = solve_damped(&g, &r, |x| largest(x) < 1.0).unwrap();
        assert!(largest(&x) < 1.0 && x[0] > 0.0, "{x:?}");
        assert!(solve_damped(&g, &r, |_| false).is_none());
    }
}
