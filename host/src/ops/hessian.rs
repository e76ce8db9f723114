//! A layer's Hessians, added up on the device.

use super::{SUBMISSION_FLOPS, hessian_update};
use crate::{Context, Element, View};
use fewbytes::launch::ROW_ALIGNMENT;
use fewbytes::linear::{Activation, Hessian, HessianLayout, HessianUpdate};
use fewbytes::{Error, Knobs, Result};

/// Bytes of x and of s that one submission takes at most.
const PIECE_BYTES: u64 = 16 << 20;
/// Submissions after which uploading waits, so that copies do not pile up.
#[cfg(not(target_arch = "wasm32"))]
const IN_FLIGHT: usize = 4;

/// Adds up `H_k = sum over tokens t of s[t, k] * x_t x_t^T` for the groups `k` of one layer, as
/// [`fewbytes::linear::HessianAccumulator`] does on the CPU, with the same checks and errors.
///
/// Products and sums are f32: a sum over `n` tokens is within about `n` roundings of its terms'
/// magnitudes, where the CPU's, which goes on in f64, is within some tens. Takes about
/// `2 * groups * inputs^2` bytes on the device, cut where bindings end, and while tokens come from
/// host memory up to 32 MiB more. The result does not depend on timing.
///
/// Inputs are f32 from host memory, f32 or f16 where they are on the device already. There is no
/// kernel that reads bf16: widen it to f32 first, which is exact, as
/// `fewbytes::linear::file::CalibrationFile` does with what it reads; a view cannot hold bf16.
///
/// ```no_run
/// use fewbytes_wgpu::{Context, Result, ops::hessian::Accumulator};
///
/// async fn sums(ctx: &Context, x: &[f32], s: &[f32]) -> Result<fewbytes::linear::Hessian> {
///     let mut sums = Accumulator::new(ctx, "blk.0.up", 4096, 4)?;
///     sums.add_batch(x, Some(s))?;
///     sums.finish().await
/// }
/// ```
pub struct Accumulator<'a> {
    ctx: &'a Context,
    name: String,
    layout: HessianLayout,
    knobs: Knobs,
    sums: Vec<View>,
    tokens: u64,
    /// Where tokens from host memory go: x and s of some tokens.
    staging: Option<[View; 2]>,
}

impl<'a> Accumulator<'a> {
    /// No tokens yet. `name` is the layer's name in every later error.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] when a number is 0 or too large, and around what
    /// [`Context::alloc`] says.
    pub fn new(ctx: &'a Context, name: &str, inputs: usize, groups: usize) -> Result<Self> {
        let made = HessianLayout::new(inputs, groups, ctx.caps())
            .and_then(|layout| Ok((hessian_update::alloc_sums(ctx, &layout)?, layout)));
        let (sums, layout) = made.map_err(|e| e.in_layer(name))?;
        let (name, knobs) = (name.to_owned(), Knobs::DEFAULT);
        Ok(Self { ctx, name, layout, knobs, sums, tokens: 0, staging: None })
    }

    /// The same with some choices made, from a tuner's cache for example.
    #[must_use]
    pub fn with_knobs(self, knobs: Knobs) -> Self {
        Self { knobs, ..self }
    }

    /// Adds tokens from host memory: inputs `x [n, inputs]`, row-major, and what each token counts
    /// in each group, `s [n, groups]`; absent means 1 for all. Uploads and submits piece by piece;
    /// outside browsers it waits for earlier pieces where there are many.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] when the lengths are not those of whole tokens,
    /// and around [`Error::Value`] at the first input that is not finite or the first `s` that is
    /// negative or not finite; nothing is added then. Around what the device says otherwise: then
    /// some tokens may have been added.
    pub fn add_batch(&mut self, x: &[f32], s: Option<&[f32]>) -> Result<()> {
        self.upload(x, s).map_err(|e| e.in_layer(&self.name))
    }

    /// Adds tokens that are on the device: `x [n, inputs]`, f32 or f16 but not bf16, and
    /// `s [n, groups]`, f32. Many are submitted in parts of bounded work, of which each has to
    /// begin at a multiple of 256 bytes: an odd number of f16 inputs is cut at 128 tokens only.
    /// Their values are not looked at; what is not finite shows in [`Accumulator::finish`].
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] for other element types, or lengths that are not
    /// those of whole tokens, and around what [`crate::Plan::bind`] says.
    pub fn add_views(&mut self, x: &View, s: Option<&View>) -> Result<()> {
        self.views(x, s).map_err(|e| e.in_layer(&self.name))
    }

    fn upload(&mut self, x: &[f32], s: Option<&[f32]>) -> Result<()> {
        let tokens = self.layout.check_batch(x, s)?;
        let (inputs, groups) = (self.layout.inputs(), self.layout.groups());
        let step = self.step();
        let mut weights = s.map(|s| s.chunks(step * groups));
        for (at, x) in x.chunks(step * inputs).enumerate() {
            #[cfg(not(target_arch = "wasm32"))]
            if at > 0 && at.is_multiple_of(IN_FLIGHT) {
                self.ctx.wait()?;
            }
            let n = step.min(tokens - at * step);
            let [x_view, s_view] = self.staging(n)?;
            let x_view = x_view.slice(0..x.len())?;
            self.ctx.write(&x_view, x)?;
            let s = weights.as_mut().and_then(Iterator::next);
            let s_view = s.map(|s| {
                let view = s_view.slice(0..s.len())?;
                self.ctx.write(&view, s).map(|()| view)
            });
            self.submit(n, &x_view, s_view.transpose()?.as_ref())?;
        }
        Ok(())
    }

    fn views(&mut self, x: &View, s: Option<&View>) -> Result<()> {
        let (inputs, groups) = (self.layout.inputs(), self.layout.groups());
        if !matches!(x.element(), Element::F32 | Element::F16) {
            let found = format!("{:?}", x.element());
            return Err(Error::shape("elements of x", "F32 or F16", found));
        }
        let len = usize::try_from(x.len()).unwrap_or(usize::MAX);
        if !len.is_multiple_of(inputs) {
            let expected = format!("a multiple of {inputs} inputs");
            return Err(Error::shape("length of x", expected, len));
        }
        let tokens = len / inputs;
        if let Some(s) = s {
            s.expect("s", Element::F32, tokens.saturating_mul(groups))?;
        }
        // Each part has to begin where a binding may.
        let of_s = if s.is_some() { alignment(groups, Element::F32) } else { 1 };
        let aligned = alignment(inputs, x.element()).max(of_s);
        let step = (self.step() / aligned).max(1) * aligned;
        for start in (0..tokens).step_by(step) {
            let range = start..tokens.min(start + step);
            let part =
                |view: &View, width: usize| view.slice(range.start * width..range.end * width);
            let s = s.map(|s| part(s, groups)).transpose()?;
            self.submit(range.len(), &part(x, inputs)?, s.as_ref())?;
        }
        Ok(())
    }

    /// Tokens of one submission.
    fn step(&self) -> usize {
        step(&self.layout, self.ctx.caps().bindable_bytes())
    }

    /// Room for so many tokens.
    fn staging(&mut self, tokens: usize) -> Result<[View; 2]> {
        let (inputs, groups) = (self.layout.inputs(), self.layout.groups());
        let fits = |[x, _]: &&[View; 2]| x.len() >= (tokens * inputs) as u64;
        if let Some(views) = self.staging.as_ref().filter(fits) {
            return Ok(views.clone());
        }
        let views =
            [self.ctx.alloc::<f32>(tokens * inputs)?, self.ctx.alloc::<f32>(tokens * groups)?];
        Ok(self.staging.insert(views).clone())
    }

    fn submit(&mut self, tokens: usize, x: &View, s: Option<&View>) -> Result<()> {
        let activation = match x.element() {
            Element::F16 => Activation::F16,
            _ => Activation::F32,
        };
        let (layout, weighted) = (self.layout.clone(), s.is_some());
        let spec = HessianUpdate { layout, tokens, activation, weighted };
        let plan = hessian_update::plan(self.ctx, spec, &self.knobs)?;
        self.ctx.submit(|pass| plan.record(pass, x, s, &self.sums))?;
        self.tokens += tokens as u64;
        Ok(())
    }

    /// Tokens added so far.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The sums as they are on the device, not divided by the number of tokens: a view a piece of
    /// the layout.
    pub fn sums(&self) -> (&HessianLayout, &[View]) {
        (&self.layout, &self.sums)
    }

    /// Brings the sums back.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] where no token was added, around [`Error::Value`]
    /// where a sum is beyond the range of f32, and around what [`Context::read`] says.
    pub async fn finish(self) -> Result<Hessian> {
        let mut pieces = Vec::with_capacity(self.sums.len());
        if self.tokens > 0 {
            for view in &self.sums {
                let piece = self.ctx.read::<f32>(view).await;
                pieces.push(piece.map_err(|e| e.in_layer(&self.name))?);
            }
        }
        self.layout.unpack(&self.name, self.tokens, &pieces)
    }
}

/// Tokens of one submission: a multiple of 128, or fewer where so many cannot be bound or would
/// keep a device too long.
fn step(layout: &HessianLayout, bindable_bytes: u64) -> usize {
    let token = 4 * layout.inputs().max(layout.groups()) as u64;
    // Whole tiles: what the device does, not what it has to.
    let flops = (layout.sums_len() as u64).saturating_mul(2);
    let bytes = PIECE_BYTES.min(bindable_bytes);
    let most = (bytes / token.max(1)).min(SUBMISSION_FLOPS / flops.max(1));
    match usize::try_from(most).unwrap_or(usize::MAX) {
        most if most < ROW_ALIGNMENT => most.max(1),
        most => most / ROW_ALIGNMENT * ROW_ALIGNMENT,
    }
}

/// Bytes at whose multiples every device lets a binding begin.
const BINDING_ALIGNMENT: usize = 256;

/// The fewest rows of so many elements that end where a binding may begin, a power of two.
fn alignment(width: usize, element: Element) -> usize {
    // What powers of two there are in the bytes of a row need not be in the number of rows.
    let row = width.trailing_zeros() + element.bytes().trailing_zeros();
    BINDING_ALIGNMENT >> row.min(BINDING_ALIGNMENT.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fewbytes::launch::Caps;

    #[test]
    fn a_submission_is_bounded_work_however_large_the_layer() {
        for (inputs, groups) in
            [(1, 1), (1, 3000), (70, 2), (4096, 1), (4096, 4), (11_008, 4), (28_672, 8)]
        {
            let layout = HessianLayout::new(inputs, groups, &Caps::webgpu()).unwrap();
            let tokens = step(&layout, Caps::webgpu().bindable_bytes());
            let work = 2 * layout.sums_len() as u64 * tokens as u64;
            assert!(tokens > 0 && work <= SUBMISSION_FLOPS, "{inputs} x {groups}: {work}");
            // As many as there may be, down to whole runs of tokens.
            let bytes = 4 * inputs.max(groups) as u64 * (2 * tokens + ROW_ALIGNMENT) as u64;
            assert!(3 * work >= SUBMISSION_FLOPS || bytes > PIECE_BYTES, "{inputs}: {tokens}");
        }
        // Not even one token: one all the same.
        let layout = HessianLayout::new(1 << 17, 8, &Caps::webgpu()).unwrap();
        assert_eq!(step(&layout, Caps::webgpu().bindable_bytes()), 1);
    }

    #[test]
    fn parts_of_tokens_begin_where_bindings_may() {
        for width in (1..200).chain([256, 4096, 11_008]) {
            for element in [Element::F16, Element::F32] {
                let rows = alignment(width, element);
                let bytes = |rows: usize| rows * width * element.bytes() as usize;
                assert_eq!(bytes(rows) % BINDING_ALIGNMENT, 0);
                assert!(rows == 1 || bytes(rows / 2) % BINDING_ALIGNMENT != 0, "{width}: {rows}");
            }
        }
    }
}
