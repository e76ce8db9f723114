//! The case table of `prefill`.

use super::tiles::{Content, Place, Setting, lse_errors};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::attention::decode::{LSE, O};
use crate::attention::prefill::NAME;
use crate::attention::reference::decode_attention;
use crate::attention::{DecodeQueries, HEAD_DIMS, KvCache, KvElement, Prefill, RowMap};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::Activation;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct PrefillCase {
    setting: Setting,
    output: Activation,
    lse: bool,
}

const DEFAULT: Setting = Setting {
    kept: &[65, 0, 200],
    appended: 17,
    dim: 64,
    element: KvElement::F16,
    place: Place::Ragged,
    group: 4,
    q_len: 17,
    input: Activation::F32,
    softcap: None,
    window: None,
    content: Content::Random,
};

pub(super) fn cases() -> Vec<PrefillCase> {
    use Activation::{F16, F32};
    let case = |setting| PrefillCase { setting, output: F32, lse: true };
    let mut all = Vec::new();
    // Every dimension, and every element twice, by turns with every layout and number of query heads.
    let places = [Place::Ragged, Place::Paged(16), Place::Plain];
    for (d, dim) in HEAD_DIMS.into_iter().enumerate() {
        for e in [d, d + 3] {
            let (element, place) = (KvElement::ALL[e % 5], places[e % 3]);
            let kept = if place == Place::Plain { &[70, 70][..] } else { &[65, 3][..] };
            let (group, q_len) = ([4, 1, 3, 7, 2][e % 5], [17, 9][e % 2]);
            let appended = q_len as u32;
            all.push(case(Setting {
                kept,
                appended,
                dim,
                element,
                place,
                group,
                q_len,
                ..DEFAULT
            }));
        }
    }
    // Tiles of rows and keys that are whole, one short and one over, and groups across tiles.
    for (group, q_len) in
        [(1, 1), (4, 1), (1, 3), (3, 17), (7, 17), (1, 64), (1, 65), (16, 3), (4, 70)]
    {
        let appended = q_len as u32;
        all.push(case(Setting { group, q_len, appended, ..DEFAULT }));
    }
    // More query heads of a KV head than decoding takes, and more than a tile has rows.
    for (group, q_len) in [(17, 3), (32, 2), (70, 2)] {
        let appended = q_len as u32;
        let setting = Setting { kept: &[20, 0, 70], group, q_len, appended, ..DEFAULT };
        all.push(case(setting));
        all.push(case(Setting { input: F16, ..setting }));
    }
    // Heads without rows, one with all of them, and fewer rows than new tokens.
    for (kept, appended, q_len) in [
        (&[0, 0][..], 0, 3),
        (&[0][..], 70, 70),
        (&[0, 0][..], 5, 17),
        (&[1, 63, 64, 47][..], 17, 17),
        (&[0, 300, 0][..], 3, 3),
    ] {
        all.push(case(Setting { kept, appended, q_len, group: 3, ..DEFAULT }));
    }
    all.push(case(Setting { place: Place::Paged(32), ..DEFAULT }));
    all.push(case(Setting { place: Place::Paged(16), kept: &[0, 15, 33], ..DEFAULT }));
    for (input, output) in [(F16, F16), (F16, F32), (F32, F16)] {
        all.push(PrefillCase { output, lse: false, ..case(Setting { input, ..DEFAULT }) });
    }
    // What cooperative matrices can do: every dimension but the largest.
    for (at, dim) in [64, 80, 96, 128].into_iter().enumerate() {
        for element in [KvElement::F16, KvElement::Int8] {
            let place = [Place::Ragged, Place::Paged(16)][at % 2];
            let (appended, q_len) = (45, 45);
            let kept = &[65, 0, 150];
            let group = 1 + at;
            let setting = Setting {
                input: F16,
                kept,
                appended,
                dim,
                element,
                place,
                group,
                q_len,
                ..DEFAULT
            };
            all.push(case(setting));
        }
    }
    for (softcap, window, content) in [
        (Some(5.0), None, Content::Random),
        (None, Some(30), Content::Random),
        (None, None, Content::Steps),
        (None, None, Content::NotNumbers),
        (None, None, Content::NoQuery),
    ] {
        all.push(case(Setting { input: F16, softcap, window, content, ..DEFAULT }));
    }
    // Small weights of many keys are not lost beside a large one. (lavapipe ends loops after 65,535 turns.)
    let many = Setting { kept: &[16_000], appended: 1, q_len: 1, group: 2, ..DEFAULT };
    all.push(case(Setting { input: F16, content: Content::Sink, ..many }));
    for window in [1, 40, 100_000] {
        all.push(case(Setting { window: Some(window), ..DEFAULT }));
    }
    let (appended, q_len) = (70, 70);
    all.push(case(Setting { window: Some(20), group: 1, appended, q_len, ..DEFAULT }));
    for softcap in [0.5, 50.0] {
        all.push(case(Setting { softcap: Some(softcap), group: 3, ..DEFAULT }));
    }
    for content in [Content::Steps, Content::NotNumbers, Content::NoQuery] {
        all.push(case(Setting { content, ..DEFAULT }));
    }
    all
}

impl PrefillCase {
    /// Of `o`, shares of the largest value of the head: for matrices weights, and values of int8, are
    /// rounded to f16.
    fn tolerance(&self, cache: &KvCache, o: &[f64], matrix: bool) -> Result<Vec<f64>> {
        let Setting { dim, group, kept, .. } = self.setting;
        let largest: Result<Vec<f64>> = (0..kept.len())
            .map(|head| {
                let values = cache.head(head)?.values;
                let finite = values.into_iter().filter(|v| v.is_finite());
                Ok(finite.map(|v| f64::from(v.abs())).fold(0.0, f64::max))
            })
            .collect();
        let largest = largest?;
        let of = |(at, o): (usize, &f64)| {
            let share = if matrix { 2e-5 + 3.0 / 2048.0 } else { 2e-5 };
            let exact = share * largest[at / dim % self.setting.query_heads() / group];
            match self.output {
                Activation::F32 => exact,
                Activation::F16 => exact + ((o.abs() + exact) / 2048.0).max(f64::powi(2.0, -25)),
            }
        };
        Ok(o.iter().enumerate().map(of).collect())
    }
}

impl Case for PrefillCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let mut name = self.setting.name();
        if self.output != Activation::F32 {
            name += &format!(" to {}", self.output.name());
        }
        if !self.lse {
            name += " no lse";
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        self.setting.variants(caps)
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let setting = &self.setting;
        let mut rng = setting.rng();
        let (cache, q) = (setting.cache(&mut rng)?, setting.q(&mut rng));
        let map = RowMap::new(cache.layout(), &setting.starts(&cache))?;
        let (output, lse) = (self.output, self.lse);
        let queries = DecodeQueries { output, lse, ..setting.queries() };
        let spec = Prefill::new(queries, cache.layout(), &map)?;
        let found = decode_attention(&setting.asked(&q), &cache)?;

        let mut tensors = setting.tensors(&q, &cache, &map, true);
        tensors.push(Tensor::output(O, found.o.len() * output.bytes()));
        let matrix = knobs.matrix == Some(true);
        let relative = match (output, matrix) {
            (_, true) => 2e-3,
            (Activation::F16, false) => 1e-3,
            // A rounding of each of 16,000 equal terms, all the same way.
            (Activation::F32, false) if setting.content == Content::Sink => 1e-3,
            (Activation::F32, false) => 2e-5,
        };
        let tolerance = self.tolerance(&cache, &found.o, matrix)?;
        let expected = Expected::Close { element: output, values: found.o, tolerance, relative };
        let mut outputs = vec![Output { binding: O, expected }];
        if lse {
            tensors.push(Tensor::output(LSE, 4 * found.lse.len()));
            let tolerance = lse_errors(&found.lse, &setting.logit_errors(&q, &cache, knobs)?);
            let (element, values) = (Activation::F32, found.lse);
            let expected = Expected::Close { element, values, tolerance, relative: 1e-5 };
            outputs.push(Output { binding: LSE, expected });
        }
        Ok(Proof { launches: spec.launches(caps, knobs)?, tensors, outputs })
    }
}
