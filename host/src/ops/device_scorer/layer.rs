//! What an engine hands over.

use crate::ops::DeviceCache;
use crate::ops::prefill::KeyRows;
use crate::{Element, View};
use fewbytes::attention::kvzip::{ModelSizes, RepeatPass};
use fewbytes::attention::{DecodeQueries, Layout};
use fewbytes::linear::Activation;
use fewbytes::{Error, Result};

/// One layer of a pass on a device. All of it is read by what is submitted when it is handed over: writes
/// to it have been submitted before.
#[derive(Debug, Clone, Copy)]
pub struct DeviceLayer<'a> {
    /// Queries of the pass, `[tokens, query_heads, head_dim]`, f32 or f16, after norms and rotary
    /// embedding.
    pub q: &'a View,
    /// Where the rows of the cache lie: system prefix, context, and the rows of the pass's tokens.
    pub layout: &'a Layout,
    /// The rows: of all KV heads. Values are not read.
    pub rows: KeyRows<'a>,
    /// Natural logarithms of the sums that the pass's attention divided by, `[tokens, query_heads]` of
    /// f32, for [`Denominator::Full`](fewbytes::attention::Denominator::Full): prefill's own. Worked out
    /// again where absent.
    pub lse: Option<&'a View>,
}

impl<'a> DeviceLayer<'a> {
    /// A layer without logarithms.
    pub fn new(q: &'a View, cache: &'a DeviceCache) -> Self {
        Self { q, layout: cache.layout(), rows: KeyRows::of(cache), lse: None }
    }

    /// The same with logarithms.
    #[must_use]
    pub fn with_lse(self, lse: &'a View) -> Self {
        Self { lse: Some(lse), ..self }
    }

    /// Who asks, once the layer is one of the model's in this pass.
    pub(super) fn queries(&self, sizes: &ModelSizes, pass: &RepeatPass) -> Result<DecodeQueries> {
        let shape = self.layout.shape();
        if *shape != sizes.shape {
            let (expected, found) = (format!("{:?}", sizes.shape), format!("{shape:?}"));
            return Err(Error::shape("cache of a scored layer", expected, found));
        }
        let end = u64::from(pass.position) + pass.tokens.len() as u64;
        let lengths = self.layout.lengths();
        for (head, length) in lengths.into_iter().enumerate() {
            if u64::from(length) != end {
                let what = format!("rows of head {head}, those of context and pass");
                return Err(Error::shape(what, end, length));
            }
        }
        let input = match self.q.element() {
            Element::F32 => Activation::F32,
            Element::F16 => Activation::F16,
            other => {
                let found = format!("{other:?}");
                return Err(Error::shape("elements of queries", "F32 or F16", found));
            }
        };
        let logits = sizes.logits;
        Ok(DecodeQueries {
            q_len: pass.tokens.len(),
            // One rounding each.
            scale: logits.scale as f32,
            softcap: logits.softcap.map(|cap| cap as f32),
            input,
            ..DecodeQueries::new(shape, sizes.group)
        })
    }
}
