//! A dense weight matrix as the quantizers take it.

use crate::{Error, Result};

/// A borrowed, validated weight matrix `W[rows, cols]`, row-major, with optional sensitivities.
///
/// `rows` is the number of outputs of the linear layer, `cols` the number of inputs. The
/// sensitivity of a weight is how much its squared error costs (the diagonal of the empirical
/// Fisher matrix, say); absent means 1 for all.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    name: &'a str,
    rows: usize,
    cols: usize,
    values: &'a [f32],
    sensitivities: Option<&'a [f32]>,
}

impl<'a> Weights<'a> {
    /// Checks and wraps a matrix; `name` is the layer's name in every later error.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] when a dimension is 0 or a slice's length is not
    /// `rows * cols`, and around [`Error::Value`] at the first weight that is not finite or the
    /// first sensitivity that is negative or not finite.
    pub fn new(
        name: &'a str,
        rows: usize,
        cols: usize,
        values: &'a [f32],
        sensitivities: Option<&'a [f32]>,
    ) -> Result<Self> {
        let checked = || {
            if rows == 0 || cols == 0 {
                return Err(Error::shape(
                    "weights",
                    "rows > 0 and cols > 0",
                    format!("{rows} x {cols}"),
                ));
            }
            let count = rows.checked_mul(cols).ok_or_else(|| {
                Error::shape("weights", "rows * cols within usize", format!("{rows} x {cols}"))
            })?;
            same_length("weights", count, values.len())?;
            all_valid("weight", cols, values, |v| v.is_finite(), "must be finite")?;
            if let Some(s) = sensitivities {
                same_length("sensitivities", count, s.len())?;
                let rule = "must be finite and not negative";
                all_valid("sensitivity", cols, s, |v| v.is_finite() && v >= 0.0, rule)?;
            }
            Ok(())
        };
        checked().map_err(|e: Error| e.in_layer(name))?;
        Ok(Self { name, rows, cols, values, sensitivities })
    }

    /// The layer's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Outputs of the layer.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of the layer.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All weights, row-major.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// All sensitivities, row-major, where there are any.
    pub fn sensitivities(&self) -> Option<&'a [f32]> {
        self.sensitivities
    }
}

fn same_length(what: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::shape(format!("length of {what}"), expected, found))
    }
}

fn all_valid(
    what: &str,
    cols: usize,
    values: &[f32],
    valid: impl Fn(f32) -> bool,
    rule: &'static str,
) -> Result<()> {
    match values.iter().position(|&v| !valid(v)) {
        None => Ok(()),
        Some(at) => Err(Error::Value {
            what: what.to_owned(),
            row: at / cols,
            col: at % cols,
            value: f64::from(values[at]),
            rule,
        }),
    }
}
