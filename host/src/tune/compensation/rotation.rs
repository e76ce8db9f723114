//! Tensors to time a layer with, one set after the other.

use super::{CompensatedLayer, CompensationOptions, compensation};
use crate::measure::{self, Budget as Bytes, Operands, Order};
use crate::ops::{self, ResidualWeights};
use crate::{Bound, Context, Element, Memory, Plan, View};
use fewbytes::linear::compensate::Structure;
use fewbytes::linear::gemv_bitplane::{X, Y};
use fewbytes::linear::select::Budget;
use fewbytes::linear::select_channels::Method;
use fewbytes::linear::{Activation, Add, ResidualLayout, SelectChannels};
use fewbytes::{Error, Knobs, Result};
use half::f16;

/// Most sets of tensors: each point binds all of them anew.
const MOST: usize = 96;

/// The tensors of one layer. A set has activations of its own, so that every set fetches other
/// channels; weights are as many copies as get past the cache.
pub(super) struct Rotation {
    layout: ResidualLayout,
    activation: Activation,
    product: Plan,
    operands: Operands,
    /// As many copies as get past the cache: devices cache what they read of host memory too.
    residuals: Vec<ResidualWeights>,
    /// All of them.
    words: View,
    add: ops::add::Plan,
    sets: Vec<Set>,
}

struct Set {
    at: usize,
    x: View,
    product: View,
    compensation: View,
    list: View,
    /// In the buffer that all activations lie in: whatever reads those waits for it.
    sum: View,
}

impl Rotation {
    pub(super) fn new(
        ctx: &Context,
        layer: &CompensatedLayer<'_>,
        options: &CompensationOptions,
    ) -> Result<Self> {
        let CompensatedLayer { residual: layout, activation, .. } = *layer;
        let launches = layer.product.launches(ctx.caps(), &layer.knobs)?;
        let memory = options.memory.unwrap_or_else(|| Bytes::for_device(ctx.info()));
        let operands = Operands::new(ctx, &launches, Order::Independent, &memory)?;
        let product = ctx.plan_launches(launches)?;
        let count = operands.len().min(MOST);

        let (words, copies) = copies(ctx, &layout, options, &memory)?;
        let scales = match layout.element().scaled() {
            true => Some(ctx.upload(&vec![f16::from_f32(0.01); layout.padded_rows()])?),
            false => None,
        };
        let placed = ctx.placed(options.placement)?;
        let of = |words| ResidualWeights::from_views(layout, placed, words, scales.clone());
        let residuals = copies.into_iter().map(of).collect::<Result<Vec<_>>>()?;

        let budget = Budget::new(layout.cols(), 1)?;
        let spec = compensation(layout, activation, Structure::Beside, budget);
        let add = Add { len: spec.y_len(), activation };
        let stride = |elements: usize| {
            (elements * activation.bytes()).next_multiple_of(256) / activation.bytes()
        };
        let (x_stride, y_at) = (stride(layout.cols()), count * stride(layout.cols()));
        let all = activations(ctx, activation, y_at, y_at + add.len)?;
        let sum = all.slice(y_at..y_at + add.len)?;
        let sets = (0..count).map(|at| {
            let product = operands.view(Y, at).ok_or_else(|| {
                Error::shape(
                    "output of the product to time",
                    "one, as gemv_bitplane binds it",
                    "none",
                )
            })?;
            Ok(Set {
                at,
                x: all.slice(at * x_stride..at * x_stride + layout.cols())?,
                product: View::new(
                    product.buffer(),
                    product.offset(),
                    add.len as u64,
                    activation.into(),
                )?,
                compensation: ctx.alloc::<f32>(add.len)?,
                list: ctx.alloc::<u32>(layout.cols())?,
                sum: sum.clone(),
            })
        });
        Ok(Self {
            sets: sets.collect::<Result<_>>()?,
            layout,
            activation,
            product,
            operands,
            residuals,
            words,
            add: ops::add::plan(ctx, &add, &Knobs::DEFAULT)?,
        })
    }

    pub(super) fn memory(&self) -> Memory {
        self.residuals.first().map_or(Memory::Device, ResidualWeights::memory)
    }

    /// GB/s of streaming the residual's buffer.
    pub(super) fn stream(&self, ctx: &Context) -> Result<f64> {
        let len = self.words.len().min(ctx.caps().bindable_bytes() / 4) / 4 * 4;
        measure::stream(ctx, &self.words.slice(0..usize::try_from(len).unwrap_or(0))?)
    }

    /// Scales and partial results of one layer.
    pub(super) fn device_bytes(&self) -> u64 {
        let of = |set: &Set| set.product.bytes() + set.compensation.bytes();
        let residual = self.residuals.first().map_or(0, ResidualWeights::device_bytes);
        residual + self.sets.first().map_or(0, of)
    }

    fn base(&self, ctx: &Context, at: usize, set: &Set) -> Result<Bound> {
        let x = View::new(set.x.buffer(), set.x.offset(), set.x.bytes(), Element::U8)?;
        self.operands.bound(ctx, &self.product, at, &[(X, x)])
    }

    fn sum(&self, set: &Set) -> Result<Bound> {
        self.add.bind(&set.product, &set.compensation, &set.sum)
    }

    fn each(&self, bind: impl Fn(usize, &Set) -> Result<Bound>) -> Result<Vec<Bound>> {
        self.sets.iter().enumerate().map(|(at, set)| bind(at, set)).collect()
    }

    /// The product, and an addition of nothing that the next product waits for.
    pub(super) fn base_and_add(&self, ctx: &Context) -> Result<Vec<Bound>> {
        self.each(|at, set| Ok(self.base(ctx, at, set)?.then(self.sum(set)?)))
    }

    /// The addition alone; the next waits for it since both write one buffer.
    pub(super) fn add_alone(&self, _ctx: &Context) -> Result<Vec<Bound>> {
        self.each(|_, set| self.sum(set))
    }

    /// Product, compensation and addition. After a structure that adds into the product, the addition
    /// is there all the same: it stands for whatever consumes the result.
    pub(super) fn compensated(
        &self,
        ctx: &Context,
        structure: Structure,
        knobs: &Knobs,
        k_chunk: usize,
    ) -> Result<Vec<Bound>> {
        let parts = Parts::new(self, ctx, structure, knobs, k_chunk)?;
        self.each(|at, set| {
            let base = self.base(ctx, at, set)?;
            let both = match structure {
                Structure::Beside => parts.compensate(self, set)?.then(base),
                Structure::Listed => {
                    parts.select(set)?.then(parts.compensate(self, set)?).then(base)
                }
                Structure::After => {
                    parts.select(set)?.then(base).then(parts.compensate(self, set)?)
                }
            };
            Ok(both.then(self.sum(set)?))
        })
    }

    /// The compensation without the product, its selection included.
    pub(super) fn alone(
        &self,
        ctx: &Context,
        structure: Structure,
        knobs: &Knobs,
        k_chunk: usize,
    ) -> Result<Vec<Bound>> {
        let parts = Parts::new(self, ctx, structure, knobs, k_chunk)?;
        // All of them write the first set's buffer, which keeps them apart.
        let Some(first) = self.sets.first() else { return Ok(Vec::new()) };
        self.each(|_, set| {
            let own = Set {
                at: set.at,
                x: set.x.clone(),
                product: first.product.clone(),
                compensation: first.compensation.clone(),
                list: first.list.clone(),
                sum: first.sum.clone(),
            };
            let compensate = parts.compensate(self, &own)?;
            match structure {
                Structure::Beside => Ok(compensate),
                Structure::Listed | Structure::After => Ok(parts.select(&own)?.then(compensate)),
            }
        })
    }
}

/// The kernels of one point.
struct Parts {
    structure: Structure,
    k: usize,
    select: ops::select_channels::Plan,
    compensate: ops::compensate::Plan,
}

impl Parts {
    fn new(
        rotation: &Rotation,
        ctx: &Context,
        structure: Structure,
        knobs: &Knobs,
        k_chunk: usize,
    ) -> Result<Self> {
        let Rotation { layout: residual, activation, .. } = *rotation;
        let budget = Budget::new(residual.cols(), k_chunk)?;
        let spec = compensation(residual, activation, structure, budget);
        let select = SelectChannels {
            activation,
            method: Method::ChunkRadix,
            ..SelectChannels::new(budget)
        };
        Ok(Self {
            structure,
            k: budget.k(),
            select: ops::select_channels::plan(ctx, &select, &Knobs::DEFAULT)?,
            compensate: ops::compensate::plan(ctx, &spec, knobs)?,
        })
    }

    fn select(&self, set: &Set) -> Result<Bound> {
        self.select.bind(&set.x, &[], &set.list.slice(0..self.k)?)
    }

    fn compensate(&self, rotation: &Rotation, set: &Set) -> Result<Bound> {
        let list = match self.structure {
            Structure::Beside => None,
            _ => Some(set.list.slice(0..self.k)?),
        };
        let y = if self.structure.apart() { &set.compensation } else { &set.product };
        let copies = rotation.residuals.len().max(1);
        let residual = rotation
            .residuals
            .get(set.at % copies)
            .ok_or_else(|| Error::shape("copies of the residual to time", "at least one", 0))?;
        self.compensate.bind(residual, list.as_ref(), &set.x, y)
    }
}

/// One buffer with so many copies of a residual that a turn through them gets past the cache.
fn copies(
    ctx: &Context,
    layout: &ResidualLayout,
    options: &CompensationOptions,
    memory: &Bytes,
) -> Result<(View, Vec<View>)> {
    // Bindings begin at multiples of 256 bytes, which channels are not always.
    let stride = layout.words().next_multiple_of(64);
    let fit = ctx.caps().max_buffer_bytes / (4 * stride as u64);
    let count =
        memory.copies(4 * stride as u64).min(MOST).min(usize::try_from(fit).unwrap_or(MOST)).max(1);
    let all = ctx.alloc_in::<u32>(stride * (count - 1) + layout.words(), options.placement)?;
    let noise = measure::noise_words(layout.words());
    let view = |at: usize| all.slice(at * stride..at * stride + layout.words());
    let views = (0..count).map(view).collect::<Result<Vec<_>>>()?;
    for view in &views {
        ctx.write(view, &noise)?;
        ctx.queue().submit([]);
        ctx.wait()?;
    }
    Ok((all, views))
}

/// Activations between -1 and 1 with an outlier in two hundred, and zeros behind them.
fn activations(ctx: &Context, element: Activation, filled: usize, len: usize) -> Result<View> {
    let words = measure::noise_words(len);
    let value = |(at, word): (usize, &u32)| {
        let unit = (word >> 8) as f32 / 8_388_608.0 - 1.0;
        match at {
            _ if at >= filled => 0.0,
            _ if word % 199 == 0 => 40.0 * unit,
            _ => unit,
        }
    };
    let values: Vec<f32> = words.iter().enumerate().map(value).collect();
    match element {
        Activation::F32 => ctx.upload(&values),
        Activation::F16 => {
            let halves: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
            ctx.upload(&halves)
        }
    }
}
