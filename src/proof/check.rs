//! Judging what came back.

use crate::attention::score_rows::reference::number;
use crate::linear::Activation;
use half::f16;

/// What an output has to be.
#[derive(Debug, Clone)]
pub enum Expected {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These numbers, each within its own tolerance; NaN where NaN is expected.
    Close {
        /// How the output is stored.
        element: Activation,
        /// The reference, in f64.
        values: Vec<f64>,
        /// Largest absolute error of each element, from the reference's condition.
        tolerance: Vec<f64>,
        /// Largest `|y - reference| / |reference|` over all finite elements together.
        relative: f64,
    },
    /// Integers whose order is that of these numbers, each within its own tolerance:
    /// [`image`](crate::attention::score_rows::reference::image). 0 where negative infinity is expected.
    Images {
        /// The reference, in f64.
        values: Vec<f64>,
        /// Largest absolute error of each number.
        tolerance: Vec<f64>,
    },
}

/// How close a correct output was.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measure {
    /// `|y - reference| / |reference|` over all finite elements; 0 for bytes.
    pub relative: f64,
    /// Largest error as a share of its tolerance; 0 for bytes.
    pub of_tolerance: f64,
}

/// What was wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Mismatch {
    /// The number of bytes differs.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A byte differs.
    #[error("byte {at} is {found:#04x}, expected {expected:#04x}")]
    Byte {
        /// Where.
        at: usize,
        /// What was expected.
        expected: u8,
        /// What was found.
        found: u8,
    },
    /// A number is further from the reference than its tolerance.
    #[error("element {at} is {found:e}, expected {expected:e} within {tolerance:e}")]
    Element {
        /// Where.
        at: usize,
        /// The reference.
        expected: f64,
        /// What was found.
        found: f64,
        /// What would have been accepted.
        tolerance: f64,
    },
    /// An element, or the padding of the last word, was not written.
    #[error("element {at} was not written")]
    Unwritten {
        /// Where.
        at: usize,
    },
    /// The elements are each acceptable but too far off together.
    #[error("relative error {found:e} is above {limit:e}")]
    Relative {
        /// `|y - reference| / |reference|`.
        found: f64,
        /// What would have been accepted.
        limit: f64,
    },
    /// Something was written behind the output.
    #[error("byte {byte}, behind the output, was written")]
    Overrun {
        /// The byte's offset from the start of the output.
        byte: usize,
    },
    /// Two runs gave different bytes.
    #[error("run {run} differs from run 0 at byte {byte}")]
    NotReproducible {
        /// Which run.
        run: usize,
        /// The first byte that differs.
        byte: usize,
    },
}

impl Expected {
    pub(super) fn verify(&self, bytes: &[u8]) -> Result<Measure, Mismatch> {
        match self {
            Self::Bytes(expected) => verify_bytes(expected, bytes),
            Self::Close { element, values, tolerance, relative } => {
                let expected = (values.len() * element.bytes()).next_multiple_of(4);
                if expected != bytes.len() {
                    return Err(Mismatch::Length { expected, found: bytes.len() });
                }
                if tolerance.len() != values.len() {
                    let (expected, found) = (values.len(), tolerance.len());
                    return Err(Mismatch::Length { expected, found });
                }
                let poisoned = |element: &[u8]| element.iter().all(|&byte| byte == super::POISON);
                if let Some(at) = bytes.chunks_exact(element.bytes()).position(poisoned) {
                    return Err(Mismatch::Unwritten { at });
                }
                let padding = &bytes[values.len() * element.bytes()..];
                verify_bytes(&vec![0; padding.len()], padding)?;
                let found: Vec<f64> = match element {
                    Activation::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(bytes)
                        .into_iter()
                        .map(f64::from)
                        .collect(),
                    Activation::F16 => bytemuck::pod_collect_to_vec::<u8, f16>(bytes)
                        .into_iter()
                        .map(f64::from)
                        .collect(),
                };
                verify_close(values, tolerance, *relative, &found)
            }
            Self::Images { values, tolerance } => {
                let expected = 4 * values.len();
                if expected != bytes.len() || tolerance.len() != values.len() {
                    return Err(Mismatch::Length { expected, found: bytes.len() });
                }
                let words = bytemuck::pod_collect_to_vec::<u8, u32>(bytes);
                if let Some(at) = words.iter().position(|word| *word == u32::MAX) {
                    return Err(Mismatch::Unwritten { at });
                }
                let number = |word: &u32| match word {
                    0 => f64::NEG_INFINITY,
                    word => f64::from(number(*word)),
                };
                let found: Vec<f64> = words.iter().map(number).collect();
                verify_close(values, tolerance, f64::INFINITY, &found)
            }
        }
    }
}

fn verify_bytes(expected: &[u8], found: &[u8]) -> Result<Measure, Mismatch> {
    if expected.len() != found.len() {
        return Err(Mismatch::Length { expected: expected.len(), found: found.len() });
    }
    match expected.iter().zip(found).position(|(a, b)| a != b) {
        None => Ok(Measure::default()),
        Some(at) => Err(Mismatch::Byte { at, expected: expected[at], found: found[at] }),
    }
}

fn verify_close(
    values: &[f64],
    tolerance: &[f64],
    relative: f64,
    found: &[f64],
) -> Result<Measure, Mismatch> {
    let (mut error, mut norm, mut of_tolerance) = (0.0, 0.0, 0.0f64);
    for (at, ((&expected, &tolerance), &found)) in
        values.iter().zip(tolerance).zip(found).enumerate()
    {
        let off = (found - expected).abs();
        let same = expected == found || (expected.is_nan() && found.is_nan());
        // Written so that a NaN that nobody expected fails the comparison.
        if !(same || (expected.is_finite() && off <= tolerance)) {
            return Err(Mismatch::Element { at, expected, found, tolerance });
        }
        if expected.is_finite() {
            error += off * off;
            norm += expected * expected;
            if off > 0.0 {
                of_tolerance = of_tolerance.max(off / tolerance);
            }
        }
    }
    let found = if norm > 0.0 { (error / norm).sqrt() } else { 0.0 };
    if found > relative {
        return Err(Mismatch::Relative { found, limit: relative });
    }
    Ok(Measure { relative: found, of_tolerance })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(values: &[f64], tolerance: f64) -> Expected {
        Expected::Close {
            element: Activation::F32,
            values: values.to_vec(),
            tolerance: vec![tolerance; values.len()],
            relative: 1.0,
        }
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        bytemuck::cast_slice(values).to_vec()
    }

    #[test]
    fn wrong_answers_are_caught() {
        let expected = close(&[1.0, -2.0], 0.1);
        expected.verify(&bytes(&[1.05, -2.05])).unwrap();
        for wrong in [
            bytes(&[1.2, -2.0]),
            bytes(&[1.0, f32::NAN]),
            bytes(&[f32::INFINITY, -2.0]),
            bytes(&[1.0]),
            vec![0xfe; 8],
        ] {
            expected.verify(&wrong).unwrap_err();
        }
        let nan = close(&[f64::NAN, f64::INFINITY], 0.0);
        nan.verify(&bytes(&[f32::NAN, f32::INFINITY])).unwrap();
        nan.verify(&bytes(&[f32::NAN, f32::NEG_INFINITY])).unwrap_err();
        nan.verify(&bytes(&[0.0, f32::INFINITY])).unwrap_err();
        Expected::Bytes(vec![1, 2]).verify(&[1, 3]).unwrap_err();
        Expected::Bytes(vec![1, 2]).verify(&[1]).unwrap_err();
    }

    #[test]
    fn images_are_judged_as_the_numbers_they_stand_for() {
        use crate::attention::score_rows::reference::image;
        let bytes = |words: &[u32]| bytemuck::cast_slice(words).to_vec();
        let values = vec![-1.5, f64::NEG_INFINITY, f64::NAN];
        let expected = Expected::Images { values, tolerance: vec![0.1; 3] };
        let good = [image(-1.45), 0, image(f32::NAN)];
        expected.verify(&bytes(&good)).unwrap();
        for wrong in
            [[image(1.5), 0, good[2]], [good[0], 1, good[2]], [good[0], 0, u32::MAX], [0; 3]]
        {
            expected.verify(&bytes(&wrong)).unwrap_err();
        }
    }

    #[test]
    fn what_was_not_written_is_caught_even_where_nan_is_expected() {
        let untouched = vec![super::super::POISON; 8];
        for expected in [close(&[f64::NAN; 2], 0.0), close(&[1.0; 2], f64::INFINITY)] {
            assert_eq!(expected.verify(&untouched), Err(Mismatch::Unwritten { at: 0 }));
        }
    }

    #[test]
    fn small_errors_everywhere_are_caught_together() {
        let loose = Expected::Close {
            element: Activation::F32,
            values: vec![1.0; 4],
            tolerance: vec![1.0; 4],
            relative: 0.01,
        };
        let found = loose.verify(&bytes(&[1.1; 4])).unwrap_err();
        assert!(matches!(found, Mismatch::Relative { .. }));
    }

    #[test]
    fn writes_behind_the_output_are_caught() {
        let output = super::super::Output { binding: 0, expected: Expected::Bytes(vec![7; 8]) };
        let mut piece = vec![7; 4];
        piece.extend([super::super::POISON; super::super::CANARY_BYTES]);
        let good = [piece.clone(), piece];
        output.verify(&good).unwrap();
        for (at, byte) in [(0, 4), (1, 8)] {
            let mut pieces = good.clone();
            pieces[at][4] = 0;
            assert_eq!(output.verify(&pieces), Err(Mismatch::Overrun { byte }));
        }
    }
}
