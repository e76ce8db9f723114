//! Kernels that can be measured.

use fewbytes::launch::{Caps, Knobs, Launch, Spec};
use fewbytes::linear::{
    Add, Compensate, DequantizeBitplane, Gemm, GemvBitplane, GemvVector, HessianUpdate, LnqProduct,
    MatmulBitplane, SelectChannels,
};
use fewbytes::stream::{StreamCopy, StreamRead};

/// A described piece of work.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Read(StreamRead),
    Copy(StreamCopy),
    Gemv(GemvBitplane),
    Vector(GemvVector),
    Dequantize(DequantizeBitplane),
    Gemm(Gemm),
    Matmul(MatmulBitplane),
    Hessian(HessianUpdate),
    LnqProduct(LnqProduct),
    Select(SelectChannels),
    Compensate(Compensate),
    Add(Add),
}

impl Work {
    pub(crate) fn spec(&self) -> &dyn Spec {
        match self {
            Self::Read(spec) => spec,
            Self::Copy(spec) => spec,
            Self::Gemv(spec) => spec,
            Self::Vector(spec) => spec,
            Self::Dequantize(spec) => spec,
            Self::Gemm(spec) => spec,
            Self::Matmul(spec) => spec,
            Self::Hessian(spec) => spec,
            Self::LnqProduct(spec) => spec,
            Self::Select(spec) => spec,
            Self::Compensate(spec) => spec,
            Self::Add(spec) => spec,
        }
    }

    pub(crate) fn kernel(&self) -> &'static str {
        self.spec().kernel()
    }

    pub(crate) fn launches(&self, caps: &Caps, knobs: &Knobs) -> fewbytes::Result<Vec<Launch>> {
        self.spec().launches(caps, knobs)
    }

    pub(crate) fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        self.spec().candidates(caps)
    }
}
