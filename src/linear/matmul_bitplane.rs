//! `matmul_bitplane`: any number of vectors times any-precision weights, by whichever kernels suit.
//!
//! `Y = X W_b^T + bias` as of [`super::gemm_bitplane`], with its shapes, strides and binding numbers.
//! It is no kernel itself but a choice of three ways:
//!
//! | [`Route`] | launches | vectors | scratch memory |
//! |---|---|---|---|
//! | `Gemv` | [`super::gemv_bitplane`], one for every eight vectors | any | none, or partial sums with several slices |
//! | `Gemm` | [`super::gemm_bitplane`] | any | none, or partial sums with several slices |
//! | `Dense` | [`super::dequantize_bitplane`], then [`super::gemm`] | any | the dense weights |
//!
//! **Which by default.** `Gemv` up to [`MAX_BATCH`] vectors, and up to [`GEMV_PARTS`] times as many
//! where the matrix is small: parts times rows up to [`GEMV_ROWS`], or
//! [`GEMV_ROWS_BESIDE_MATRICES`]. A tile of `Gemm` walks all columns however few the vectors, and few
//! rows are few tiles. Then `Gemm`, and from [`DENSE_FROM`] vectors
//! `Dense`, where the dense weights fit one buffer of the device: `Gemm` decodes each weight once for
//! every 64 vectors, `Dense` once, but writes and reads `rows x cols` elements for it. The crossovers
//! are those of an H100 (`docs/matmul_h100.md`). A tuner that times [`MatmulBitplane::candidates`]
//! finds the better on a device; knob `route` asks for one.
//!
//! **Parts.** More vectors than a launch takes, or than `x` or `y` have room for in one binding, are
//! multiplied in parts, one after another. A part has to begin at a multiple of 256 bytes of `x` and of
//! `y`: it does for any number of vectors where columns and rows are multiples of 128 (f16) or 64 (f32),
//! and for fewer numbers elsewhere. Where there is none that fits, the product is refused as the
//! kernel refuses it.
//!
//! Dense weights are the table entries themselves: f16 for tables of f16, else f32. Results of the
//! routes differ by rounding only, in the order of sums. The other knobs are those of the kernels;
//! `Dense` leaves slices aside.

use super::dequantize_bitplane::DST;
use super::gemm::{self, Block};
use super::gemv_bitplane::{MAX_BATCH, X, Y};
use super::{
    Activation, BitplaneLayout, DequantizeBitplane, Gemm, GemmBitplane, GemvBitplane, TableElement,
};
use crate::launch::{Caps, Knobs, Launch, Operand, Route, Scratch, Spec, Traffic};
use crate::{Error, Result};

/// The name of the choice; launches bear their kernels' names.
pub const NAME: &str = "matmul_bitplane";

/// The most parts of eight vectors that `Gemv` multiplies by default.
pub const GEMV_PARTS: usize = 8;

/// The most rows, counted once for every part, that `Gemv` multiplies by default.
pub const GEMV_ROWS: usize = 57_344;

/// The same where `Gemm` would multiply by cooperative matrices.
pub const GEMV_ROWS_BESIDE_MATRICES: usize = 28_672;

/// What every device's storage alignment divides.
const ALIGNMENT: usize = 256;

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
            None if self.suits_gemv(caps, knobs) => Route::Gemv,
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

    fn suits_gemv(&self, caps: &Caps, knobs: &Knobs) -> bool {
        let halves = self.activation == Activation::F16 && self.layout.table() == TableElement::F16;
        let most = match knobs.matrix.unwrap_or(halves && caps.has_matrices()) {
            true => GEMV_ROWS_BESIDE_MATRICES,
            false => GEMV_ROWS,
        };
        let parts = self.batch.div_ceil(MAX_BATCH);
        let few = parts <= GEMV_PARTS && parts.saturating_mul(self.layout.rows()) <= most;
        parts <= 1 || few && MAX_BATCH.is_multiple_of(self.granule())
    }

    /// Some of the vectors, as a product of their own.
    fn part(&self, batch: usize) -> Self {
        Self { batch, ..self.clone() }
    }

    /// Bytes from vector to vector of `x` and of `y`.
    fn strides(&self) -> [usize; 2] {
        [self.layout.cols(), self.y_stride()]
            .map(|elements| elements.saturating_mul(self.activation.bytes()))
    }

    /// Whether `x` and `y` can be buffers of the device.
    fn check_buffers(&self, caps: &Caps) -> Result<()> {
        for (name, stride) in ["x", "y"].into_iter().zip(self.strides()) {
            let bytes = (stride as u64).saturating_mul(self.batch as u64);
            if bytes > caps.max_buffer_bytes {
                let limit = format!("0..={}, the largest buffer", caps.max_buffer_bytes);
                return Err(Error::range(format!("bytes of {name} of {NAME}"), limit, bytes));
            }
        }
        Ok(())
    }

    /// The fewest vectors after which `x` and `y` are aligned again; a power of two.
    fn granule(&self) -> usize {
        let aligned = ALIGNMENT.trailing_zeros();
        let missing = |bytes: usize| aligned - bytes.trailing_zeros().min(aligned);
        let [x, y] = self.strides();
        1 << missing(x).max(missing(y))
    }

    /// The vectors of each part: as many as fit, up to `most`; all of them where no fewer can be
    /// bound on their own.
    fn vectors_of_parts(&self, caps: &Caps, most: usize, slices: Option<u32>) -> usize {
        let [x, y] = self.strides();
        let slices = slices.filter(|&slices| slices > 1).unwrap_or(0) as usize;
        let partials = self.y_stride().saturating_mul(4 * slices);
        let limit = usize::try_from(caps.bindable_bytes()).unwrap_or(usize::MAX);
        let fit = limit / x.max(y).max(partials).max(1);
        let part = most.min(fit);
        let whole = part / self.granule() * self.granule();
        if part >= self.batch || whole == 0 { self.batch } else { whole }
    }

    /// The launches of all parts, of up to `most` vectors each.
    fn launches_of_parts(
        &self,
        caps: &Caps,
        most: usize,
        slices: Option<u32>,
        launches: impl Fn(&Self) -> Result<Vec<Launch>>,
    ) -> Result<Vec<Launch>> {
        let vectors = self.vectors_of_parts(caps, most, slices);
        let [x, y] = self.strides();
        let mut all = Vec::new();
        for first in (0..self.batch).step_by(vectors) {
            let part = self.part(vectors.min(self.batch - first));
            for (number, mut launch) in launches(&part)?.into_iter().enumerate() {
                for operand in &mut launch.operands {
                    operand.offset += match operand.binding {
                        X => (first * x) as u64,
                        Y => (first * y) as u64,
                        _ => 0,
                    };
                }
                // Weights and bias have to be read once: by the first part. A part's first launch
                // is the one that counts its vectors.
                if first > 0 {
                    launch.traffic.read_bytes =
                        if number == 0 { (part.batch * x) as u64 } else { 0 };
                }
                all.push(launch);
            }
        }
        Ok(all)
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
        launches.extend(self.launches_of_parts(caps, usize::MAX, None, |part| {
            let mut launches = part.dense().launches(caps, &gemm)?;
            for launch in &mut launches {
                to_scratch(launch, gemm::W);
                // The weights need not have been made dense: only what is there before counts.
                let Traffic { read_bytes, flops, .. } = launch.traffic;
                let weights =
                    flops / (2 * part.batch as u64) * part.dequantize().element.bytes() as u64;
                launch.traffic.read_bytes = read_bytes.saturating_sub(weights);
            }
            Ok(launches)
        })?);
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
        self.check_buffers(caps)?;
        if self.batch == 0 {
            return Ok(Vec::new());
        }
        match self.route(caps, knobs) {
            Route::Gemv if self.vectors_of_parts(caps, MAX_BATCH, knobs.slices) > MAX_BATCH => {
                Err(Error::range(
                    format!("batch of {NAME} by gemv_bitplane"),
                    format!("0..={MAX_BATCH}, since parts of {MAX_BATCH} are not aligned"),
                    self.batch,
                ))
            }
            Route::Gemv => self.launches_of_parts(caps, MAX_BATCH, knobs.slices, |part| {
                part.gemv().launches(caps, knobs)
            }),
            Route::Gemm => self.launches_of_parts(caps, usize::MAX, knobs.slices, |part| {
                part.gemm().launches(caps, knobs)
            }),
            Route::Dense => self.dense_launches(caps, knobs),
        }
    }

    fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        let mut all = vec![Knobs::DEFAULT];
        let mut push = |route, candidates: Vec<Knobs>| {
            all.extend(candidates.into_iter().map(|knobs| Knobs { route: Some(route), ..knobs }));
        };
        let part = self.vectors_of_parts(caps, MAX_BATCH, None);
        if part <= MAX_BATCH && self.batch <= GEMV_PARTS * MAX_BATCH {
            push(Route::Gemv, self.part(part).gemv().candidates(caps));
        }
        push(Route::Gemm, self.gemm().candidates(caps));
        let mut dense = self.dense().candidates(caps);
        dense.retain(|knobs| knobs.slices.is_none());
        push(Route::Dense, dense);
        all
    }
}
