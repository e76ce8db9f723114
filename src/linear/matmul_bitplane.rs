//! `matmul_bitplane`: any number of vectors times any-precision weights, by whichever kernels suit.
//!
//! `Y = X W_b^T + bias` as of [`super::gemm_bitplane`], with its shapes, strides and binding numbers.
//! It is no kernel itself but a choice of three ways:
//!
//! | [`Route`] | launches | vectors | scratch memory |
//! |---|---|---|---|
//! | `Gemv` | [`super::gemv_bitplane`] | 1 to 8 | none, or partial sums with several slices |
//! | `Gemm` | [`super::gemm_bitplane`] | any | none, or partial sums with several slices |
//! | `Dense` | [`super::dequantize_bitplane`], then [`super::gemm`] | any | the dense weights |
//!
//! **Which by default.** `Gemv` for as many vectors as it takes ([`MAX_BATCH`]); `Gemm` below
//! [`DENSE_FROM`] vectors; from there `Dense`, where the dense weights fit one buffer of the device.
//! `Gemm` decodes each weight once for every 64 vectors, `Dense` once, but writes and reads
//! `rows x cols` elements for it; the crossover is where a weight would be decoded more than four
//! times. That is reckoned, not measured. A tuner that times [`MatmulBitplane::candidates`] finds the
//! better on a device; knob `route` asks for one.
//!
//! `x` and `y` have to fit one binding each on every route: 128 MiB by WebGPU's default limits, which
//! is 2340 vectors of 14336 f32. More are refused, and have to be multiplied in parts.
//!
//! Dense weights are the table entries themselves: f16 for tables of f16, else f32. Results of the
//! routes differ by rounding only, in the order of sums. The other knobs are those of the kernels;
//! `Dense` leaves slices aside.

use super::dequantize_bitplane::DST;
use super::gemm::{self, Block};
use super::gemv_bitplane::MAX_BATCH;
use super::{
    Activation, BitplaneLayout, DequantizeBitplane, Gemm, GemmBitplane, GemvBitplane, TableElement,
};
use crate::launch::{Caps, Knobs, Launch, Operand, Route, Scratch, Spec, Traffic};
use crate::{Error, Result};

/// The name of the choice; launches bear their kernels' names.
pub const NAME: &str = "matmul_bitplane";

/// The fewest vectors for which weights are made dense by default: five tiles of them.
pub const DENSE_FROM: usize = 257;

/// One product, described.
#[derive(Debug, Clone, PartialEq)]
pub struct MatmulBitplane {
    /// The weights as they lie on the device.
    pub layout: BitplaneLayout,
    /// Width to multiply at.
    pub bits: u8,
    /// Activation vectors; 0 does nothing.
    pub batch: usize,
    /// Element type of `x` and `y`.
    pub activation: Activation,
    /// Whether to add the layer's bias.
    pub bias: bool,
}

impl MatmulBitplane {
    /// `batch` vectors of f32 activations; the bias is added where the layer has one.
    pub fn new(layout: BitplaneLayout, bits: u8, batch: usize) -> Self {
        let bias = layout.bias();
        Self { layout, bits, batch, activation: Activation::F32, bias }
    }

    /// Elements from vector to vector of `y`, see [`GemmBitplane::y_stride`].
    pub fn y_stride(&self) -> usize {
        self.gemm().y_stride()
    }

    /// Elements of `y`.
    pub fn y_len(&self) -> usize {
        self.gemm().y_len()
    }

    /// Elements of `x`.
    pub fn x_len(&self) -> usize {
        self.gemm().x_len()
    }

    /// The route that such knobs stand for on a device.
    pub fn route(&self, caps: &Caps, knobs: &Knobs) -> Route {
        let fits = || self.dequantize().dst_bytes() <= caps.max_buffer_bytes;
        match knobs.route {
            Some(route) => route,
            None if self.batch <= MAX_BATCH => Route::Gemv,
            None if self.batch >= DENSE_FROM && fits() => Route::Dense,
            None => Route::Gemm,
        }
    }

    /// Bytes of scratch memory that the launches want together: dense weights, partial sums or
    /// none.
    ///
    /// # Errors
    /// As [`MatmulBitplane::launches`].
    pub fn scratch_bytes(&self, caps: &Caps, knobs: &Knobs) -> Result<u64> {
        let launches = self.launches(caps, knobs)?;
        let parts = launches.iter().flat_map(Launch::scratch);
        Ok(parts.map(|part| part.offset.saturating_add(part.bytes)).max().unwrap_or(0))
    }

    fn gemv(&self) -> GemvBitplane {
        let Self { ref layout, bits, batch, activation, bias } = *self;
        GemvBitplane { batch, activation, bias, ..GemvBitplane::new(layout.clone(), bits) }
    }

    fn gemm(&self) -> GemmBitplane {
        let Self { ref layout, bits, batch, activation, bias } = *self;
        GemmBitplane { activation, bias, ..GemmBitplane::new(layout.clone(), bits, batch) }
    }

    fn dequantize(&self) -> DequantizeBitplane {
        let element = match self.layout.table() {
            TableElement::F16 => Activation::F16,
            TableElement::F32 => Activation::F32,
        };
        DequantizeBitplane { layout: self.layout.clone(), bits: self.bits, element }
    }

    /// The product with the dense weights.
    fn dense(&self) -> Gemm {
        let (rows, cols) = (self.layout.rows(), self.layout.cols());
        let weights = self.dequantize();
        Gemm {
            w: Block { element: weights.element, offset: 0, stride: weights.stride() },
            x: Block::dense(self.activation, cols),
            y: Block::packed(self.activation, rows),
            bias: self.bias,
            ..Gemm::new(self.batch, rows, cols)
        }
    }

    fn dense_launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let own = Knobs { workgroup: None, rows: None, ..*knobs };
        let mut launches = self.dequantize().launches(caps, &own)?;
        for launch in &mut launches {
            to_scratch(launch, DST);
            launch.traffic.write_bytes = 0;
        }
        let gemm = Knobs { slices: None, ..*knobs };
        for mut launch in self.dense().launches(caps, &gemm)? {
            to_scratch(&mut launch, gemm::W);
            // The weights need not have been made dense: only what is there before counts.
            let Traffic { read_bytes, flops, .. } = launch.traffic;
            let weights =
                flops / (2 * self.batch as u64) * self.dequantize().element.bytes() as u64;
            launch.traffic.read_bytes = read_bytes.saturating_sub(weights);
            launches.push(launch);
        }
        Ok(launches)
    }
}

/// Makes an operand scratch memory.
fn to_scratch(launch: &mut Launch, binding: u32) {
    let (moved, kept) = launch.operands.iter().partition(|operand| operand.binding == binding);
    let moved: Vec<Operand> = moved;
    launch.operands = kept;
    launch.scratch.extend(moved.into_iter().map(|operand| Scratch {
        binding,
        offset: operand.offset,
        bytes: operand.bytes,
    }));
}

impl Spec for MatmulBitplane {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        // What is wrong with weights and sizes is said by one kernel, whatever the route.
        self.gemm().check()?;
        if self.batch == 0 {
            return Ok(Vec::new());
        }
        match self.route(caps, knobs) {
            Route::Gemv if self.batch > MAX_BATCH => Err(Error::range(
                format!("batch of {NAME} by gemv_bitplane"),
                format!("0..={MAX_BATCH}"),
                self.batch,
            )),
            Route::Gemv => self.gemv().launches(caps, knobs),
            Route::Gemm => self.gemm().launches(caps, knobs),
            Route::Dense => self.dense_launches(caps, knobs),
        }
    }

    fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        let mut all = vec![Knobs::DEFAULT];
        let mut push = |route, candidates: Vec<Knobs>| {
            all.extend(candidates.into_iter().map(|knobs| Knobs { route: Some(route), ..knobs }));
        };
        if self.batch <= MAX_BATCH {
            push(Route::Gemv, self.gemv().candidates(caps));
        }
        push(Route::Gemm, self.gemm().candidates(caps));
        let mut dense = self.dense().candidates(caps);
        dense.retain(|knobs| knobs.slices.is_none());
        push(Route::Dense, dense);
        all
    }
}
