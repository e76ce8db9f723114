//! Residuals on a device, or where a device can read them.

use crate::{Arg, Context, Memory, Placement, View};
use fewbytes::linear::compensate::{NORMS, RESIDUAL, SCALES};
use fewbytes::linear::{ResidualLayer, ResidualLayout};
use fewbytes::{Error, Result};
use half::f16;

/// The uploaded residual of a layer: words where they were asked to be, scales and norms always in
/// the device's memory, since fetching scales would cost as much as four more channels at every step.
#[derive(Debug, Clone)]
pub struct ResidualWeights {
    layout: ResidualLayout,
    memory: Memory,
    words: View,
    scales: Option<View>,
    norms: Option<View>,
}

impl ResidualWeights {
    /// Uploads a residual. Wrap errors with [`Error::in_layer`] to name the layer.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for [`Placement::Host`] where the device cannot read host memory;
    /// [`Error::BindingTooLarge`] where the words do not fit one binding, in which case the layer has to be
    /// cut by its outputs: quantize and compensate parts of its rows; [`Error::OutOfMemory`] with bytes
    /// and memory (host memory that devices read is pinned, and systems limit it: Windows to about
    /// half of all).
    pub fn upload(ctx: &Context, layer: &ResidualLayer, placement: Placement) -> Result<Self> {
        let (layout, memory) = (*layer.layout(), ctx.placed(placement)?);
        let limit = ctx.caps().bindable_bytes();
        if layout.bytes() > limit {
            let what =
                format!("a residual of {} rows of {}", layout.rows(), layout.element().name());
            return Err(Error::BindingTooLarge { what, bytes: layout.bytes(), limit });
        }
        let words = ctx.upload_in(layer.words(), placement)?;
        let scales = match layout.element().scaled() {
            true => Some(ctx.upload(layer.scales())?),
            false => None,
        };
        Ok(Self { layout, memory, words, scales, norms: None })
    }

    /// Takes words that are in a buffer already, `[cols, stride]` of u32, and scales, for example pages
    /// of the caller's that the device was given (see `Context::import_pages`). What they hold is the
    /// caller's business: see [`fewbytes::linear::residual`] for the format.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length, or scales too many or missing.
    pub fn from_views(
        layout: ResidualLayout,
        memory: Memory,
        words: View,
        scales: Option<View>,
    ) -> Result<Self> {
        words.expect("words of the residual", crate::Element::U32, layout.words())?;
        match (&scales, layout.element().scaled()) {
            (Some(scales), true) => {
                let len = layout.padded_rows();
                scales.expect("scales of the residual", crate::Element::F16, len)?;
            }
            (None, false) => {}
            (given, _) => {
                let words = |given| if given { "given" } else { "none" };
                let (expected, found) = (words(given.is_none()), words(given.is_some()));
                return Err(Error::shape("scales of the residual", expected, found));
            }
        }
        Ok(Self { layout, memory, words, scales, norms: None })
    }

    /// Adds the norms of channels, `[cols]`, which weighted selections need:
    /// [`ResidualLayer::channel_norms`].
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of them, [`Error::Value`] for one that is negative or not
    /// finite, and as [`Context::upload`].
    pub fn with_norms(self, ctx: &Context, norms: &[f16]) -> Result<Self> {
        if norms.len() != self.layout.cols() {
            return Err(Error::shape("norms of channels", self.layout.cols(), norms.len()));
        }
        let wrong = |norm: &f16| !norm.is_finite() || *norm < f16::ZERO;
        if let Some((col, norm)) = norms.iter().enumerate().find(|(_, norm)| wrong(norm)) {
            let (what, value) = ("norm of a channel".to_owned(), norm.to_f64());
            let rule = "must be finite and not negative";
            return Err(Error::Value { what, row: 0, col, value, rule });
        }
        Ok(Self { norms: Some(ctx.upload(norms)?), ..self })
    }

    /// Sizes and element.
    pub fn layout(&self) -> &ResidualLayout {
        &self.layout
    }

    /// Which memory the words were put into; where that is, [`crate::measure::residence`] finds out.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// The words.
    pub fn words(&self) -> &View {
        &self.words
    }

    /// The norms: one view, or none.
    pub fn norms(&self) -> &[View] {
        self.norms.as_slice()
    }

    /// Bytes in the device's memory.
    pub fn device_bytes(&self) -> u64 {
        let words = if self.memory == Memory::Device { self.words.bytes() } else { 0 };
        words + self.scales.iter().chain(&self.norms).map(View::bytes).sum::<u64>()
    }

    /// Bytes in the host's memory.
    pub fn host_bytes(&self) -> u64 {
        if self.memory == Memory::Host { self.words.bytes() } else { 0 }
    }

    /// Checks that a plan made for `layout` fits.
    pub(super) fn expect(&self, layout: &ResidualLayout) -> Result<()> {
        if self.layout == *layout {
            return Ok(());
        }
        let (expected, found) = (format!("{layout:?}"), format!("{:?}", self.layout));
        Err(Error::shape("layout of the residual", expected, found))
    }

    /// The tensors as the kernel binds them.
    pub(super) fn args(&self) -> [Arg<'_>; 3] {
        [
            Arg { binding: RESIDUAL, pieces: std::slice::from_ref(&self.words) },
            Arg { binding: SCALES, pieces: self.scales.as_slice() },
            Arg { binding: NORMS, pieces: self.norms.as_slice() },
        ]
    }
}
