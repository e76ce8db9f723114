//! What appending makes, from the definition.

use super::{AppendKv, Step};
use crate::attention::{LayoutView, encode_row};
use crate::{Error, Result};

/// A row as it is stored: of keys or of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// `[row_words]`.
    pub words: Vec<u32>,
    /// 0 where the element has none.
    pub params: u32,
}

/// One new row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRow {
    /// The row of the tensors.
    pub row: u32,
    /// Its key.
    pub key: StoredRow,
    /// Its value.
    pub value: StoredRow,
    /// Its token's position.
    pub position: u32,
}

/// The rows that a step writes, token after token and head after head. `view` is the layout's after
/// the step; `keys` and `values` are `[tokens, input_heads, head_dim]`, `angles [angle_rows, dims / 2,
/// 2]` where keys are rotated.
///
/// # Errors
/// [`Error::Shape`] for other lengths, [`Error::Range`] for a row that the view has not.
pub fn reference(
    spec: &AppendKv,
    view: &LayoutView,
    step: &Step,
    keys: &[f32],
    values: &[f32],
    angles: &[f32],
) -> Result<Vec<NewRow>> {
    let dim = spec.shape.head_dim();
    for (what, found) in [("length of keys", keys.len()), ("length of values", values.len())] {
        if found != spec.input_len() {
            return Err(Error::shape(what, spec.input_len(), found));
        }
    }
    let mut rows = Vec::new();
    for token in 0..spec.tokens {
        for head in 0..spec.shape.kv_heads() {
            let kept = view.heads.get(head).map_or(0, |head| head.kept);
            let row = kept + step.before + token;
            let place = view.row(head, row);
            let place =
                place.ok_or_else(|| Error::range(format!("row of head {head}"), "rows", row))?;
            let from = (token as usize * spec.input_heads + spec.first_head + head) * dim;
            let key = &keys[from..from + dim];
            let key: Vec<f32> = match spec.rotary {
                Some(_) => {
                    rotated(spec, step, token, key, angles)?.iter().map(|x| *x as f32).collect()
                }
                None => key.to_vec(),
            };
            rows.push(NewRow {
                row: place,
                key: stored(spec, &key)?,
                value: stored(spec, &values[from..from + dim])?,
                position: step.position + token,
            });
        }
    }
    Ok(rows)
}

/// A key turned by the angles of its token.
///
/// # Errors
/// [`Error::Shape`] for another number of angles.
pub fn rotated(
    spec: &AppendKv,
    step: &Step,
    token: u32,
    key: &[f32],
    angles: &[f32],
) -> Result<Vec<f64>> {
    let mut turned: Vec<f64> = key.iter().map(|x| f64::from(*x)).collect();
    let Some(rotary) = spec.rotary else { return Ok(turned) };
    if angles.len() != rotary.angles_len() {
        return Err(Error::shape("angles", rotary.angles_len(), angles.len()));
    }
    let row = (step.angle_row + token) as usize * rotary.dims;
    for pair in 0..rotary.dims / 2 {
        let [cos, sin] = [0, 1].map(|at| f64::from(angles[row + 2 * pair + at]));
        let (first, second) = rotary.pair(pair);
        let (x, y) = (f64::from(key[first]), f64::from(key[second]));
        turned[first] = x * cos - y * sin;
        turned[second] = y * cos + x * sin;
    }
    Ok(turned)
}

/// A row encoded, where for elements with a scale NaN counts as 0 and an infinity as the largest f32.
fn stored(spec: &AppendKv, values: &[f32]) -> Result<StoredRow> {
    let finite = |value: &f32| match *value {
        value if !spec.shape.element().scaled() => value,
        value if value.is_nan() => 0.0,
        value => value.clamp(f32::MIN, f32::MAX),
    };
    let values: Vec<f32> = values.iter().map(finite).collect();
    let mut words = vec![0; spec.shape.row_words()];
    let params = encode_row(&spec.shape, "row", 0, &values, &mut words)?;
    Ok(StoredRow { words, params })
}
