//! A product and its compensation together: `y = Wq x + R[:, S] x[S]`, of any kernel's product.
//!
//! Three [`Structure`]s. With those that keep the compensation [apart](Structure::apart) both run beside
//! each other, and wgpu decides whether they may: it tracks hazards buffer by buffer and orders two
//! dispatches where either writes what the other uses. It also orders a dispatch after *everything*
//! before it in the pass where it writes a buffer that the pass has used already. Hence [`Partials`]:
//! the product and the compensation have buffers of their own, and **a pass should use each
//! `Partials` once**. They are small, one pair a layer is some megabytes for a whole model; with fewer
//! results are the same and nothing overlaps. On Metal wgpu encodes dispatches one after the other,
//! and nothing overlaps either.
//!
//! ```no_run
//! use fewbytes::linear::{BitplaneLayer, ResidualLayer, select::Budget};
//! use fewbytes_wgpu::ops::{self, compensated};
//! use fewbytes_wgpu::{Context, Placement, Result};
//!
//! fn product(ctx: &Context, layer: &BitplaneLayer, residual: &ResidualLayer) -> Result<Vec<f32>> {
//!     let weights = ops::BitplaneWeights::upload(ctx, layer, 3)?;
//!     let gemv = ops::gemv_bitplane::plan(ctx, &weights, Default::default())?;
//!     let residual = ops::ResidualWeights::upload(ctx, residual, Placement::HostOrDevice)?;
//!     let budget = Budget::new(layer.cols(), 16)?;
//!     let plan = compensated::plan(ctx, &residual, budget, Default::default())?;
//!     let (x, y) = (ctx.upload(&vec![1.0f32; layer.cols()])?, ctx.alloc::<f32>(layer.rows())?);
//!     let partials = plan.partials(ctx)?;
//!     let both = plan.bind(&residual, &x, &partials, &y, |y| gemv.bind_width(3, &weights, &x, y))?;
//!     ctx.submit(|pass| both.record(pass))?;
//!     ctx.block_on(ctx.read::<f32>(&y))
//! }
//! ```

use super::{ResidualWeights, add, compensate, select_channels};
use crate::placement::shares_memory;
use crate::{Bound, Context, Memory, View};
use fewbytes::launch::Traffic;
use fewbytes::linear::compensate::Structure;
use fewbytes::linear::select::Budget;
use fewbytes::linear::select_channels::Method;
use fewbytes::linear::{Activation, Add, Compensate, SelectChannels};
use fewbytes::{Error, Knobs, Result};

/// What [`plan`] may be told.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Activation vectors, up to [`fewbytes::linear::select_channels::MAX_BATCH`]: each has channels of
    /// its own, and fetches them.
    pub batch: usize,
    /// Element type of `x` and `y`.
    pub activation: Activation,
    /// How channels are found.
    pub method: Method,
    /// Whether they are ranked by `|x_i| norm_i`; the residual has to have norms then.
    pub weighted: bool,
    /// How product and compensation run; `None` for what suits the residual's memory: beside each
    /// other where that is the host's behind a link, otherwise one after the other.
    pub structure: Option<Structure>,
    /// Choices of the compensation that change speed only: `rows` decides its workgroups.
    pub knobs: Knobs,
}

impl Default for Options {
    /// One vector of f32, the largest channels of every chunk, the structure that suits the memory.
    fn default() -> Self {
        Self {
            batch: 1,
            activation: Activation::F32,
            method: Method::ChunkRadix,
            weighted: false,
            structure: None,
            knobs: Knobs::DEFAULT,
        }
    }
}

/// Selection, compensation and addition, compiled.
pub struct Plan {
    structure: Structure,
    select: select_channels::Plan,
    compensate: compensate::Plan,
    add: add::Plan,
    traffic: Traffic,
}

/// What a product and its compensation leave for each other, each in a buffer of its own.
#[derive(Debug, Clone)]
pub struct Partials {
    /// The product, `[batch, y_stride]`.
    pub product: View,
    /// What the compensation adds to it, as many elements of f32; none where it is added in place.
    pub compensation: View,
    /// The selected channels, `[batch, k]`.
    list: View,
}

/// Plans the compensation of products with such a residual. With a budget of no channels there is
/// nothing to plan, and what is bound is the product alone.
///
/// # Errors
/// [`Error::Shape`] for a budget of other channels than the residual's or norms that are missing,
/// [`Error::Range`] for a batch that is too large, and as [`Context::plan_with`].
pub fn plan(
    ctx: &Context,
    residual: &ResidualWeights,
    budget: Budget,
    options: Options,
) -> Result<Plan> {
    let Options { batch, activation, method, weighted, .. } = options;
    let structure = options.structure.unwrap_or(match residual.memory() {
        Memory::Host if !shares_memory(ctx.info()) => Structure::Beside,
        _ => Structure::After,
    });
    if weighted && residual.norms().is_empty() {
        return Err(Error::shape("norms of the residual", "given", "none"));
    }
    let selection = SelectChannels { budget, batch, activation, method, weighted };
    let compensation = Compensate {
        layout: *residual.layout(),
        budget,
        batch,
        source: structure.source(method, weighted),
        activation,
        // Where it is added later its roundings are too.
        output: if structure.apart() { Activation::F32 } else { activation },
        accumulate: !structure.apart(),
    };
    let addition = Add { len: compensation.y_len(), activation };
    let compensate = compensate::plan(ctx, &compensation, &options.knobs)?;
    let traffic = compensate.traffic();
    Ok(Plan {
        structure,
        select: select_channels::plan(ctx, &selection, &Knobs::DEFAULT)?,
        compensate,
        add: add::plan(ctx, &addition, &Knobs::DEFAULT)?,
        traffic,
    })
}

impl Plan {
    /// How product and compensation run.
    pub fn structure(&self) -> Structure {
        self.structure
    }

    /// What the compensation is.
    pub fn spec(&self) -> &Compensate {
        self.compensate.spec()
    }

    /// Bytes and operations of the compensation, without the product.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Whether [`Plan::bind_apart`] leaves something that is to be added.
    pub fn apart(&self) -> bool {
        self.structure.apart() && self.compensates()
    }

    fn compensates(&self) -> bool {
        self.spec().budget.k() > 0
    }

    /// Buffers for one layer; see the [module](self) for how many a model should have.
    ///
    /// # Errors
    /// As [`Context::alloc`].
    pub fn partials(&self, ctx: &Context) -> Result<Partials> {
        let spec = self.spec();
        let len = spec.y_len();
        let product = match spec.activation {
            Activation::F32 => ctx.alloc::<f32>(len),
            Activation::F16 => ctx.alloc::<half::f16>(len),
        };
        let listed = self.structure != Structure::Beside;
        Ok(Partials {
            product: product?,
            compensation: ctx.alloc::<f32>(if self.structure.apart() { len } else { 0 })?,
            list: ctx.alloc::<u32>(if listed { self.select.spec().list_len() } else { 0 })?,
        })
    }

    /// Binds everything: recording then writes `y [batch, y_stride]`, the product and what it is
    /// compensated by.
    ///
    /// `product` binds the product to an output that it is given, `y` or one of `partials`.
    ///
    /// # Errors
    /// [`Error::Shape`] for a residual of another layout and for views of another type or length, and
    /// as [`crate::Plan::bind`]; whatever `product` returns.
    pub fn bind(
        &self,
        residual: &ResidualWeights,
        x: &View,
        partials: &Partials,
        y: &View,
        product: impl FnOnce(&View) -> Result<Bound>,
    ) -> Result<Bound> {
        y.expect("y", self.spec().activation.into(), self.spec().y_len())?;
        if !self.apart() {
            return self.bind_into(residual, x, partials, y, product);
        }
        let both = self.bind_into(residual, x, partials, &partials.product, product)?;
        Ok(both.then(self.add.bind(&partials.product, &partials.compensation, y)?))
    }

    /// As [`Plan::bind`], for a consumer that adds [`Partials::compensation`] to [`Partials::product`]
    /// itself, where [`Plan::apart`] says that there is something to add; where not, it finds everything
    /// in [`Partials::product`].
    ///
    /// # Errors
    /// As [`Plan::bind`].
    pub fn bind_apart(
        &self,
        residual: &ResidualWeights,
        x: &View,
        partials: &Partials,
        product: impl FnOnce(&View) -> Result<Bound>,
    ) -> Result<Bound> {
        self.bind_into(residual, x, partials, &partials.product, product)
    }

    /// All but the addition. What is to run beside the product is recorded before it, so that its few
    /// workgroups are not queued behind the product's many.
    fn bind_into(
        &self,
        residual: &ResidualWeights,
        x: &View,
        partials: &Partials,
        y: &View,
        product: impl FnOnce(&View) -> Result<Bound>,
    ) -> Result<Bound> {
        if !self.compensates() {
            residual.expect(&self.spec().layout)?;
            return product(y);
        }
        let select = || self.select.bind(x, residual.norms(), &partials.list);
        let compensate = |list, y| self.compensate.bind(residual, list, x, y);
        match self.structure {
            Structure::Beside => Ok(compensate(None, &partials.compensation)?.then(product(y)?)),
            Structure::Listed => {
                let compensation = compensate(Some(&partials.list), &partials.compensation)?;
                Ok(select()?.then(compensation).then(product(y)?))
            }
            Structure::After => {
                let compensation = compensate(Some(&partials.list), y)?;
                Ok(select()?.then(product(y)?).then(compensation))
            }
        }
    }
}
