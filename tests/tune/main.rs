//! The tuner and its cache: which knobs are chosen, and what makes a choice stale.
//!
//! Nothing here asserts how long anything takes.

mod cache;
#[path = "../fixtures/device.rs"]
mod device;
mod files;
mod routes;
mod timing;

use fewbytes::launch::Reduce;
use fewbytes::linear::{Activation, BitplaneLayout, BitplaneShape, GemvBitplane, TableElement};
use fewbytes::{Caps, Knobs, Launch, Result, Spec};
use fewbytes_wgpu::{Context, wgpu};

/// A product with candidates of the test's own.
struct Tunable {
    gemv: GemvBitplane,
    candidates: Vec<Knobs>,
    /// Bits that the launches are really made with, where a test plays a changed kernel.
    other_text: Option<u8>,
}

impl Spec for Tunable {
    fn kernel(&self) -> &'static str {
        self.gemv.kernel()
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let bits = self.other_text.unwrap_or(self.gemv.bits);
        GemvBitplane { bits, ..self.gemv.clone() }.launches(caps, knobs)
    }

    fn candidates(&self, _caps: &Caps) -> Vec<Knobs> {
        self.candidates.clone()
    }

    fn tuning_key(&self, caps: &Caps) -> Result<String> {
        self.gemv.tuning_key(caps)
    }
}

fn gemv(rows: usize, caps: &Caps) -> GemvBitplane {
    let shape = BitplaneShape { rows, cols: 256, seed_bits: 2, parent_bits: 8 };
    let layout =
        BitplaneLayout::for_shape(shape, &[3, 4, 8], TableElement::F16, true, 8, caps).unwrap();
    GemvBitplane { activation: Activation::F32, ..GemvBitplane::new(layout, 4) }
}

fn tunable(ctx: &Context, candidates: &[Knobs]) -> Tunable {
    Tunable { gemv: gemv(64, ctx.caps()), candidates: candidates.to_vec(), other_text: None }
}

/// The defaults of the kernel, spelt out.
const SPELT_OUT: Knobs =
    Knobs { workgroup: Some(64), rows: Some(4), reduce: Some(Reduce::Workgroup), ..Knobs::DEFAULT };
const TWO_ROWS: Knobs = Knobs { rows: Some(2), ..SPELT_OUT };
const EIGHT_ROWS: Knobs = Knobs { rows: Some(8), ..SPELT_OUT };
/// No device has workgroups of three invocations.
const REFUSED: Knobs = Knobs { workgroup: Some(3), ..SPELT_OUT };

/// A device that accepts everything and does nothing.
fn noop() -> Context {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop = wgpu::NoopBackendOptions::enabled();
    let instance = wgpu::Instance::new(descriptor);
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let opened = adapter.request_device(&wgpu::DeviceDescriptor::default());
    let (device, queue) = pollster::block_on(opened).unwrap();
    Context::new(&device, &queue).unwrap()
}
