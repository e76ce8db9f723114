//! `append_kv`: new keys and values, encoded and written behind the rows of a cache.

use super::DeviceCache;
use crate::{Arg, Bound, Context, Element, View};
use fewbytes::attention::AppendKv;
use fewbytes::attention::append_kv::{
    ANGLES, HEADS, KEY_PARAMS, KEY_WORDS, KEYS, PAGE_TABLE, POSITIONS, STEP, VALUE_PARAMS,
    VALUE_WORDS, VALUES,
};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// The launches of steps of one kind; none for no tokens.
pub struct Plan {
    spec: AppendKv,
    plan: crate::Plan,
}

/// Plans steps: of [`DeviceCache::append_spec`] usually.
///
/// # Errors
/// As [`Context::plan_with`].
pub fn plan(ctx: &Context, spec: &AppendKv, knobs: &Knobs) -> Result<Plan> {
    Ok(Plan { spec: *spec, plan: ctx.plan_with(spec, knobs)? })
}

impl Plan {
    /// What was planned.
    pub fn spec(&self) -> &AppendKv {
        &self.spec
    }

    /// Bytes and operations of one step.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Binds a cache, `keys` and `values [tokens, input_heads, head_dim]`, and `angles [angle_rows,
    /// dims / 2, 2]` of f32 where keys are turned: recording then allocates nothing, step after step.
    /// What a step is told is what [`DeviceCache::append`] wrote before. Where that cache is laid out
    /// anew ([`DeviceCache::generation`] changes), it has to be planned and bound again.
    ///
    /// # Errors
    /// [`Error::Shape`] for a cache of another kind than the plan's, for views of another type or length
    /// and angles too many or missing, and as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        cache: &DeviceCache,
        keys: &View,
        values: &View,
        angles: Option<&View>,
    ) -> Result<Bound> {
        let spec = &self.spec;
        let fitting = cache.append_spec(spec.tokens, spec.input, spec.rotary);
        if fitting != *spec {
            let (expected, found) = (format!("{spec:?}"), format!("{fitting:?}"));
            return Err(Error::shape("cache to append to", expected, found));
        }
        keys.expect("new keys", spec.input.into(), spec.input_len())?;
        values.expect("new values", spec.input.into(), spec.input_len())?;
        match (angles, spec.rotary) {
            (Some(angles), Some(rotary)) => {
                angles.expect("angles", Element::F32, rotary.angles_len())?;
            }
            (None, None) => {}
            (given, _) => {
                let words = |given| if given { "given" } else { "none" };
                let (expected, found) = (words(given.is_none()), words(given.is_some()));
                return Err(Error::shape("angles", expected, found));
            }
        }
        let arg = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        let all = [
            (KEYS, Some(keys)),
            (VALUES, Some(values)),
            (HEADS, Some(cache.heads())),
            (PAGE_TABLE, cache.page_table()),
            (STEP, Some(cache.step())),
            (KEY_WORDS, Some(cache.keys())),
            (VALUE_WORDS, Some(cache.values())),
            (KEY_PARAMS, cache.key_params()),
            (VALUE_PARAMS, cache.value_params()),
            (ANGLES, angles),
            (POSITIONS, cache.positions()),
        ];
        let args: Vec<_> =
            all.into_iter().filter_map(|(binding, view)| Some(arg(binding, view?))).collect();
        self.plan.bind(&args, None)
    }
}
