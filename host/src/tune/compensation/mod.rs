//! How many residual channels a device can fetch beside its products, by measurement.
//!
//! [`Context::compensation_times`] times one layer's product with its compensation for several numbers
//! of channels and of workgroups; [`fewbytes::linear::compensate::search`] spends a slowdown that is
//! allowed over the layers of a block; [`Context::tune_compensation`] does both. What was timed can be
//! kept in a [`CompensationCache`]. Without measuring, [`fewbytes::linear::compensate::Model`] tells what
//! to expect. Source: "QDEC" (DecDEC), arXiv 2412.20185, section 4.3.

mod cache;
mod rotation;

pub use cache::{CompensationCache, CompensationEntry};

use crate::measure::{self, Budget as Memory, Order, Probe};
use crate::placement::shares_memory;
use crate::{Context, Placement, Result};
use fewbytes::linear::compensate::{
    Choice, Compensate, Curve, LayerTimes, Structure, estimate, search,
};
use fewbytes::linear::select::{Budget, CHUNK};
use fewbytes::linear::select_channels::Method;
use fewbytes::linear::{Activation, ResidualLayout};
use fewbytes::{Error, Knobs, Spec};
use rotation::Rotation;
use std::time::Duration;

/// One layer to time: its product and the shape of its residual.
#[derive(Clone, Copy)]
pub struct CompensatedLayer<'a> {
    /// Its name, in errors and choices.
    pub name: &'a str,
    /// The product, whose activations and output are bound as those of
    /// [`gemv_bitplane`](fewbytes::linear::gemv_bitplane) and of one vector.
    pub product: &'a dyn Spec,
    /// Choices for the product.
    pub knobs: Knobs,
    /// The residual.
    pub residual: ResidualLayout,
    /// Element type of activations and output.
    pub activation: Activation,
}

/// How to time.
#[derive(Debug, Clone, PartialEq)]
pub struct CompensationOptions {
    /// Where residuals lie.
    pub placement: Placement,
    /// Structures to try; empty for those that suit the placement.
    pub structures: Vec<Structure>,
    /// Channels of each 1024 to time; empty for about ten up to twice what the rates of memory and link
    /// suggest.
    pub k_chunks: Vec<usize>,
    /// Largest number of workgroups of a compensation.
    pub most_groups: usize,
    /// How each point is timed. The order is always [`Order::Independent`]: products and compensations
    /// have buffers of their own, and what waits for what is arranged here.
    pub timing: measure::Options,
    /// Memory of the rotated tensors; [`Memory::for_device`] where it is `None`.
    pub memory: Option<Memory>,
}

impl Default for CompensationOptions {
    /// Residuals in host memory where that can be read, up to 64 workgroups, medians of 21 passes.
    fn default() -> Self {
        Self {
            placement: Placement::HostOrDevice,
            structures: Vec::new(),
            k_chunks: Vec::new(),
            most_groups: 64,
            timing: measure::Options {
                min_pass: Duration::from_millis(1),
                samples: 21,
                warm_up: Duration::ZERO,
                apart: Duration::ZERO,
                settle_limit: Duration::from_millis(100),
                ..measure::Options::quick(Order::Independent)
            },
            memory: None,
        }
    }
}

/// What was measured of a layer, and what it was measured with.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Measured {
    /// The curves, without what adding up costs.
    pub times: LayerTimes,
    /// Nanoseconds that adding up takes by itself.
    pub add_ns: f64,
    /// GB/s at which the buffer is streamed that the residuals lie in.
    pub stream_gb_s: f64,
    /// Nanoseconds of the compensation alone, for each `k_chunk`, run as in the curve of this number.
    pub alone_ns: Vec<f64>,
    /// The curve whose compensation was timed alone: the one with the least time at the last `k_chunk`.
    pub alone_curve: usize,
    /// Bytes in device memory that compensating adds: scales and partial results; a list, where there is
    /// one, is 4 bytes a channel taken.
    pub device_bytes: u64,
}

impl Measured {
    /// Channels of each 1024 from which on a step takes more than `share` longer than the product alone,
    /// between the points that were timed, and the curve that takes the most.
    pub fn knee(&self, share: f64) -> Option<(f64, &Curve)> {
        let limit = self.times.base_ns * (1.0 + share);
        let of = |curve: &Curve| {
            let (mut k_before, mut before) = (0.0, self.times.base_ns);
            for (k, ns) in self.times.k_chunks.iter().zip(&curve.ns) {
                let k = *k as f64;
                if *ns > limit {
                    let part = ((limit - before) / (ns - before)).clamp(0.0, 1.0);
                    return k_before + part * (k - k_before);
                }
                (k_before, before) = (k, *ns);
            }
            k_before
        };
        let all = self.times.curves.iter().map(|curve| (of(curve), curve));
        all.max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Nanoseconds that the compensation alone takes before it fetches, and nanoseconds a channel of each
    /// 1024 then: the line through its times with the least squares.
    pub fn alone_line(&self) -> Option<(f64, f64)> {
        let k_chunks = self.times.k_chunks.iter().map(|k| *k as f64);
        line(&k_chunks.zip(self.alone_ns.iter().copied()).collect::<Vec<_>>())
    }
}

/// Value at 0 and slope of the line with the least squares, where there is a rising one.
fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0 / n, sum.1 + p.1 / n));
    let products = points
        .iter()
        .fold((0.0, 0.0), |sum, p| (sum.0 + (p.0 - x) * (p.1 - y), sum.1 + (p.0 - x) * (p.0 - x)));
    let slope = products.0 / products.1;
    (slope.is_finite() && slope > 0.0).then_some((y - slope * x, slope))
}

impl Context {
    /// Times the compensation of one layer's product. Blocks, for seconds; tensors are made up.
    ///
    /// A point is the time of product, compensation and addition of both, each such group waiting for
    /// the one before, less that of product and addition without compensation, plus that of the product
    /// alone. The residual is as large as the layer's.
    ///
    /// # Errors
    /// [`Error::Layer`] with the layer's name around whatever is wrong with the specs or the options,
    /// [`Error::Unsupported`] for a placement that the device cannot have, [`Error::OutOfMemory`],
    /// [`Error::DeviceLost`].
    pub fn compensation_times(
        &self,
        layer: &CompensatedLayer<'_>,
        options: &CompensationOptions,
    ) -> Result<Measured> {
        self.times_of(layer, options).map_err(|error| error.in_layer(layer.name))
    }

    fn times_of(
        &self,
        layer: &CompensatedLayer<'_>,
        options: &CompensationOptions,
    ) -> Result<Measured> {
        let timing = measure::Options { order: Order::Independent, ..options.timing.clone() };
        let rotation = Rotation::new(self, layer, options)?;
        let mut probe = Probe::new(self, Probe::WAKE_UP)?;
        let stream_gb_s = rotation.stream(self)?;
        probe.wake(self)?;

        let time = |bounds: &[crate::Bound]| -> Result<f64> {
            Ok(measure::time(self, bounds, &timing)?.dispatch_ns.median)
        };
        let with_add = time(&rotation.base_and_add(self)?)?;
        let add_ns = time(&rotation.add_alone(self)?)?;
        let base_ns = (with_add - add_ns).max(with_add / 8.0);
        let k_chunks = match options.k_chunks.is_empty() {
            false => options.k_chunks.clone(),
            true => self.default_chunks(layer, base_ns, stream_gb_s)?,
        };
        let structures = match (options.structures.is_empty(), rotation.memory()) {
            (false, _) => options.structures.as_slice(),
            (true, crate::Memory::Host) if !shares_memory(self.info()) => {
                &[Structure::Beside, Structure::Listed]
            }
            (true, _) => &Structure::ALL,
        };
        let mut curves = Vec::new();
        for &structure in structures {
            for (groups, knobs) in groups(layer, options, self)? {
                let mut ns = Vec::with_capacity(k_chunks.len());
                for &k_chunk in &k_chunks {
                    let bounds = rotation.compensated(self, structure, &knobs, k_chunk)?;
                    ns.push((time(&bounds)? - with_add + base_ns).max(base_ns / 8.0));
                }
                curves.push(Curve { structure, groups, ns });
            }
        }
        let times = LayerTimes { name: layer.name.to_owned(), base_ns, k_chunks, curves };
        let mut measured = Measured {
            times,
            add_ns,
            stream_gb_s,
            alone_ns: Vec::new(),
            alone_curve: 0,
            device_bytes: rotation.device_bytes(),
        };
        let last = |at: &usize| {
            let curve = measured.times.curves.get(*at);
            curve.and_then(|curve| curve.ns.last()).copied().unwrap_or(f64::INFINITY)
        };
        let curves = 0..measured.times.curves.len();
        measured.alone_curve = curves.min_by(|a, b| last(a).total_cmp(&last(b))).unwrap_or(0);
        measured.alone_ns = self.alone(layer, options, &rotation, &measured, &time)?;
        Ok(measured)
    }

    /// Times of the compensation alone, as [`Measured::alone_curve`] runs it.
    fn alone(
        &self,
        layer: &CompensatedLayer<'_>,
        options: &CompensationOptions,
        rotation: &Rotation,
        measured: &Measured,
        time: &dyn Fn(&[crate::Bound]) -> Result<f64>,
    ) -> Result<Vec<f64>> {
        let best = measured.times.curves.get(measured.alone_curve);
        let Some(best) = best else { return Ok(Vec::new()) };
        let all = groups(layer, options, self)?;
        let knobs = all.into_iter().find(|(groups, _)| *groups == best.groups);
        let knobs = knobs.map_or(Knobs::DEFAULT, |(_, knobs)| knobs);
        let of = |k_chunk: &usize| time(&rotation.alone(self, best.structure, &knobs, *k_chunk)?);
        measured.times.k_chunks.iter().map(of).collect()
    }

    /// A dozen points at most, up to twice what memory and link suggest.
    fn default_chunks(
        &self,
        layer: &CompensatedLayer<'_>,
        base_ns: f64,
        link_gb_s: f64,
    ) -> Result<Vec<usize>> {
        let residual = &layer.residual;
        let weights = residual.rows() as f64 * residual.cols() as f64;
        // As if the product took a bit a weight at the memory's rate.
        let ideal =
            estimate(weights / 8.0 / base_ns / link_gb_s, 1.0, residual.element().bits().into())?;
        let most = (2.0 * ideal).clamp(8.0, CHUNK as f64) as usize;
        // Closer to each other where little is taken, which is where most layers' knees are.
        let mut all: Vec<usize> = (1..=12).map(|at| (most * at * at).div_ceil(144)).collect();
        all.dedup();
        Ok(all)
    }

    /// Times every layer and spends the slowdown that is allowed (0.05 for 5 % of all their products
    /// together): how many channels of each 1024 each layer should take, and how. `watch` is called
    /// with the name of each layer before it is timed.
    ///
    /// # Errors
    /// As [`Context::compensation_times`] and [`search`].
    pub fn tune_compensation(
        &self,
        layers: &[CompensatedLayer<'_>],
        slowdown: f64,
        options: &CompensationOptions,
        mut watch: impl FnMut(&str),
    ) -> Result<Choice> {
        let times = layers.iter().map(|layer| {
            watch(layer.name);
            Ok(self.compensation_times(layer, options)?.times)
        });
        search(&times.collect::<Result<Vec<_>>>()?, slowdown)
    }
}

/// Numbers of workgroups to try, with the knobs that make them: from the most on each that is at most
/// three fifths of the last.
fn groups(
    layer: &CompensatedLayer<'_>,
    options: &CompensationOptions,
    ctx: &Context,
) -> Result<Vec<(usize, Knobs)>> {
    let CompensatedLayer { residual, activation, .. } = *layer;
    let budget = Budget::new(residual.cols(), CHUNK)?;
    let spec = compensation(residual, activation, Structure::Beside, budget);
    let mut all = Vec::new();
    for knobs in spec.candidates(ctx.caps()) {
        let launches = spec.launches(ctx.caps(), &knobs)?;
        let groups = launches.first().map_or(0, |l| l.grid().iter().map(|n| *n as usize).product());
        if groups <= options.most_groups && groups > 0 {
            // Said outright, since structures have defaults of their own.
            let slice = residual.segments().div_ceil(groups) * residual.segment_rows();
            let rows = Some(u32::try_from(slice).unwrap_or(u32::MAX));
            all.push((groups, Knobs { rows, ..knobs }));
        }
    }
    all.sort_by_key(|(groups, _)| std::cmp::Reverse(*groups));
    all.dedup_by_key(|(groups, _)| *groups);
    let mut kept: Vec<(usize, Knobs)> = Vec::new();
    for (groups, knobs) in all {
        if kept.last().is_none_or(|(last, _)| groups * 5 <= last * 3) {
            kept.push((groups, knobs));
        }
    }
    kept.reverse();
    if kept.is_empty() {
        return Err(Error::range(
            "workgroups of a compensation",
            "at least 1",
            options.most_groups,
        ));
    }
    Ok(kept)
}

fn compensation(
    residual: ResidualLayout,
    activation: Activation,
    structure: Structure,
    budget: Budget,
) -> Compensate {
    Compensate {
        activation,
        source: structure.source(Method::ChunkRadix, false),
        output: if structure.apart() { Activation::F32 } else { activation },
        accumulate: !structure.apart(),
        ..Compensate::new(residual, budget)
    }
}
