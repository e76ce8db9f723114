//! Where `--method lnq` works.

use crate::options::Quantize;
use anyhow::{Context as _, Result};
use clap::ValueEnum;
use fewbytes::Error;
use fewbytes::linear::file::{Batch, CalibrationFile};
use fewbytes::linear::{
    Hessian, HessianLayout, Lnq, LnqJob, LnqLayout, LnqOptions, Weights, lnq_with_progress,
};
use fewbytes_wgpu::{Context, OpenOptions, ops};

/// What the command line asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Place {
    /// All of it on the CPU's cores
    #[default]
    Cpu,
    /// Sums of Hessians, tables and labels on the adapter that FEWBYTES_ADAPTER names or the best
    /// one; up to 4 bits, labels by descent
    Gpu,
}

impl Place {
    /// That settings can be had there: seen before anything is read.
    pub(crate) fn check(self, settings: &LnqOptions) -> Result<()> {
        if self == Self::Cpu {
            return Ok(());
        }
        match LnqJob::supports(settings) {
            Err(error @ Error::Unsupported { .. }) => Err(error).context(REMEDY),
            // The CPU would say the same.
            other => Ok(other?),
        }
    }
}

/// Said of everything that a device refuses.
const REMEDY: &str = "--device gpu cannot do this; --device cpu does";

/// An open device, or none.
pub(crate) enum Device {
    Cpu,
    Gpu(Box<Context>),
}

impl Device {
    /// Opens what the command line asks for and says which adapter it is.
    pub(crate) fn open(options: &Quantize, adapter: &OpenOptions) -> Result<Self> {
        match options.lnq.place() {
            Place::Cpu => Ok(Self::Cpu),
            Place::Gpu => {
                let ctx = pollster::block_on(Context::open(adapter)).context("--device gpu")?;
                println!("LNQ on {}", ctx.describe());
                Ok(Self::Gpu(Box::new(ctx)))
            }
        }
    }

    /// The device in words: adapters round in ways of their own, so it is part of what a run is made
    /// with.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Cpu => "cpu".to_owned(),
            Self::Gpu(ctx) => ctx.describe(),
        }
    }

    /// That a layer's Hessians can be bound; `sums` where they are to be added up as well.
    pub(crate) fn check(&self, layout: LnqLayout, groups: usize, sums: bool) -> Result<()> {
        let Self::Gpu(ctx) = self else { return Ok(()) };
        let bound = || {
            if sums {
                HessianLayout::new(layout.cols, groups, ctx.caps())?;
            }
            layout.pieces(ctx.caps()).map(drop)
        };
        bound().context(REMEDY)
    }

    /// Adds up a layer's Hessians.
    pub(crate) fn hessian(
        &self,
        file: &CalibrationFile<'_>,
        layer: &str,
        groups: usize,
    ) -> fewbytes::Result<Hessian> {
        let Self::Gpu(ctx) = self else { return file.accumulate(layer, groups) };
        let inputs = file.shape(layer).map_or(0, |shape| shape.inputs);
        let batches = file.batches(layer, groups)?;
        let mut sums = ops::hessian::Accumulator::new(ctx, layer, inputs, groups)?;
        for batch in batches {
            let Batch { x, s } = batch?;
            sums.add_batch(&x, s.as_deref())?;
        }
        ctx.block_on(sums.finish())
    }

    /// Quantizes a layer.
    pub(crate) fn lnq(
        &self,
        weights: &Weights<'_>,
        hessian: &Hessian,
        settings: &LnqOptions,
        tell: &(dyn Fn(usize) + Sync),
    ) -> fewbytes::Result<Lnq> {
        match self {
            Self::Cpu => lnq_with_progress(weights, hessian, settings, tell),
            Self::Gpu(ctx) => ctx.block_on(ops::lnq::lnq(ctx, weights, hessian, settings, tell)),
        }
    }
}
