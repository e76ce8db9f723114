//! The ruler: reading and copying a buffer at the memory's own speed.
//!
//! What every other kernel is measured against. Both kernels are memory-bound by construction:
//! whole 16-byte loads, neighbouring lanes at neighbouring addresses, four loads in flight.

pub mod copy;
pub mod read;

pub use copy::StreamCopy;
pub use read::StreamRead;

use crate::launch::{
    Binding, Caps, Knobs, Launch, Needs, Operand, Part, Shader, Traffic, linear_grid,
};
use crate::{Error, Result};

/// Number of the binding that is read.
pub const SRC: u32 = 1;
/// Number of the binding that is written.
pub const DST: u32 = 2;

/// Lanes of a large stream: several times what the largest GPUs run at once, so that none of
/// their processors ends early.
const LANES: u32 = 1 << 20;
/// Most lanes; keeps indices within u32.
const MOST_LANES: u32 = 1 << 24;

/// Mirrors `Params` of both shaders.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    quads: u32,
    lanes: u32,
}

/// What the two kernels have in common.
struct Stream {
    kernel: &'static str,
    part: Part,
    bindings: &'static [Binding],
    words: usize,
    lanes: u32,
    dst_bytes: u64,
}

/// Lanes for a buffer: 16 quads each, within what is useful.
fn lanes_for(words: usize) -> u32 {
    let wanted = (words / 64).clamp(64, LANES as usize);
    u32::try_from(wanted).unwrap_or(LANES)
}

impl Stream {
    fn launch(self, caps: &Caps, knobs: &Knobs) -> Result<Launch> {
        let Self { kernel, words, lanes, dst_bytes, .. } = self;
        if words == 0 {
            return Err(Error::range(format!("words of {kernel}"), "4 and above", words));
        }
        if !words.is_multiple_of(4) {
            let (what, value) = (format!("words of {kernel}"), words as u64);
            return Err(Error::Alignment { what, multiple: 4, value });
        }
        if lanes == 0 || lanes > MOST_LANES {
            let limit = format!("1..={MOST_LANES}");
            return Err(Error::range(format!("lanes of {kernel}"), limit, lanes));
        }
        let src_bytes = (words as u64).saturating_mul(4);
        let limit = caps.bindable_bytes();
        for (name, bytes) in [("src", src_bytes), ("dst", dst_bytes)] {
            if bytes > limit {
                let what = format!("{name} of {kernel}");
                return Err(Error::BindingTooLarge { what, bytes, limit });
            }
        }
        let workgroup = workgroup(kernel, caps, knobs)?;
        // Bindings end below 2^31 bytes, so this is below 2^27.
        let quads = u32::try_from(words / 4)
            .map_err(|_| Error::range(format!("quads of {kernel}"), u32::MAX, words / 4))?;
        let groups = lanes.div_ceil(workgroup);
        let needs = Needs {
            invocations: workgroup,
            storage_buffers: 2,
            binding_bytes: src_bytes.max(dst_bytes),
            ..Needs::default()
        };
        needs.check(kernel, caps)?;
        Ok(Launch {
            kernel,
            variant: "baseline",
            shader: Shader {
                entry: kernel,
                preamble: String::new(),
                parts: vec![self.part],
                constants: vec![("WORKGROUP", workgroup.into())],
            },
            bindings: self.bindings,
            operands: vec![
                Operand { binding: SRC, piece: 0, offset: 0, bytes: src_bytes },
                Operand { binding: DST, piece: 0, offset: 0, bytes: dst_bytes },
            ],
            params: bytemuck::bytes_of(&Params { quads, lanes }).to_vec(),
            grid: linear_grid(kernel, groups.into(), caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic { read_bytes: src_bytes, write_bytes: dst_bytes, flops: 0 },
        })
    }
}

/// 256 lanes, all that WebGPU promises, or what there is.
fn workgroup(kernel: &str, caps: &Caps, knobs: &Knobs) -> Result<u32> {
    // No device has more than 1024.
    let most = caps.max_invocations.min(1024);
    let workgroup = knobs.workgroup.unwrap_or(256.min(most));
    if !workgroup.is_power_of_two() || workgroup < 8 || workgroup > most {
        let limit = format!("the powers of two in 8..={most}");
        return Err(Error::range(format!("workgroup of {kernel}"), limit, workgroup));
    }
    Ok(workgroup)
}

/// The default, then the other sizes that such a device can run.
fn candidates(caps: &Caps) -> Vec<Knobs> {
    let others = [64, 128, 512, 1024].into_iter().filter(|&n| n <= caps.max_invocations);
    let others = others.map(|n| Knobs { workgroup: Some(n), ..Knobs::default() });
    std::iter::once(Knobs::default()).chain(others).collect()
}
