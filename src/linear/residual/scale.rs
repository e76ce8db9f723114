//! The scale of one output.

use half::f16;

/// Scales that are tried.
const CANDIDATES: u16 = 32;
/// Sums that run side by side, so that they can be one register's.
const LANES: usize = 8;
/// Added to and taken from a number of magnitude below 2^22 it rounds to the nearest integer, ties to
/// even: f32 has no room for a fraction there. Machines without an instruction for it are many times
/// slower at `f32::round_ties_even`.
const ROUND: f32 = 12_582_912.0;

/// Rounds to the nearest integer, ties to even, and clamps to `-p ..= p`.
pub(super) fn code(residual: f32, scale: f32, p: f32) -> f32 {
    // The bounds are integers, so clamping first is the same, and keeps ROUND in its range.
    ((residual / scale).clamp(-p, p) + ROUND) - ROUND
}

/// The first of the scales `a / p * t / 32` for `t = 1..=32`, each rounded to f16 before it is used,
/// with the least sum of squared errors, where `a` is the largest magnitude of the residuals. A scale
/// of 0 makes every code 0.
///
/// Infinite where f16 does not hold the largest of them.
pub(super) fn search(residuals: &[f32], a: f32, p: f32) -> f16 {
    let candidate = |t: u16| f16::from_f32(a / p * (f32::from(t) / f32::from(CANDIDATES)));
    let last = candidate(CANDIDATES);
    if last == f16::ZERO || last.is_infinite() {
        return last;
    }
    let mut best = (f16::ZERO, f64::INFINITY);
    for scale in (1..=CANDIDATES).map(candidate) {
        let error = squared_error(residuals, scale, p);
        if error < best.1 {
            best = (scale, error);
        }
    }
    best.0
}

/// `sum (R - s q)^2`. A code times a scale is exact in f32, so is a square of f32 in f64: what is
/// rounded is each difference, by half a unit of the last place, and sums at 2^-53. Sums in f32 would
/// be off by more than neighbouring candidates differ in rows of some thousand.
pub(super) fn squared_error(residuals: &[f32], scale: f16, p: f32) -> f64 {
    let scale = scale.to_f32();
    let mut sums = [0.0f64; LANES];
    let mut add = |residuals: &[f32]| {
        for (sum, &residual) in sums.iter_mut().zip(residuals) {
            let q = if scale == 0.0 { 0.0 } else { code(residual, scale, p) };
            let error = f64::from(residual - scale * q);
            *sum += error * error;
        }
    };
    let chunks = residuals.chunks_exact(LANES);
    let rest = chunks.remainder();
    chunks.for_each(&mut add);
    add(rest);
    sums.iter().sum()
}
