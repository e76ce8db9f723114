//! `add`: `y = a + b`, the sum in f32 whatever `a` and `y` are made of.
//!
//! What a compensation makes lies in a buffer of its own, so that it may run beside the product; this
//! adds it, for consumers that do not add it themselves. Shapes: all three `[len]`. `a` and `y` are f32
//! or f16, `b` is f32: a sum of f16 is rounded once more than the product was, not twice.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | 4 words, see `shaders/linear/add.wgsl` |
//! | 1 | a | f32, or f16 in pairs |
//! | 2 | b | f32 |
//! | 5 | y | f32, or f16 in pairs; 0 where the last pair is half empty |
//!
//! One variant, `baseline`: no feature, default limits. Knobs: `workgroup`.

use super::Activation;
use super::bitplane::{Shape, count, largest, whole};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Shader, Spec, Traffic, linear_grid, part,
};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "add";

/// Number of the binding of `a`.
pub const A: u32 = 1;
/// Number of the binding of `b`.
pub const B: u32 = 2;
/// Number of the sum's binding.
pub const Y: u32 = 5;

static BINDINGS: [Binding; 4] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(A, "a", Access::Read),
    Binding::new(B, "b", Access::Read),
    Binding::new(Y, "y", Access::ReadWrite),
];

/// Mirrors `Params` of the shader.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    len: u32,
    unused: [u32; 3],
}

/// One addition, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Add {
    /// Elements.
    pub len: usize,
    /// Element type of `a` and `y`.
    pub activation: Activation,
}

impl Add {
    fn launch(&self, caps: &Caps, knobs: &Knobs) -> Result<Launch> {
        let shape = Shape::new(NAME, caps, knobs, 4)?;
        let each = self.activation.bytes();
        let operand = |binding, what: &str, each| {
            whole(what, self.len, each, caps).map(|bytes| Operand {
                binding,
                piece: 0,
                offset: 0,
                bytes,
            })
        };
        let operands = vec![operand(A, "a", each)?, operand(B, "b", 4)?, operand(Y, "y", each)?];
        let (part, lanes) = match self.activation {
            Activation::F32 => (vec![part!("linear/add_f32.wgsl")], self.len),
            Activation::F16 => {
                (vec![part!("lib/half.wgsl"), part!("linear/add_f16.wgsl")], self.len.div_ceil(2))
            }
        };
        let parts = [part, vec![part!("linear/add.wgsl")]].concat();
        let params = Params { len: count("elements", self.len)?, unused: [0; 3] };
        let needs = Needs {
            invocations: shape.workgroup,
            storage_buffers: operands.len() as u32,
            binding_bytes: largest(&operands),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let groups = (lanes as u64).div_ceil(shape.workgroup.into());
        Ok(Launch {
            kernel: NAME,
            variant: "baseline",
            shader: Shader {
                entry: NAME,
                preamble: String::new(),
                parts,
                constants: vec![("WORKGROUP", shape.workgroup.into())],
            },
            bindings: &BINDINGS,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, groups, caps.max_groups)?,
            scratch: Vec::new(),
            needs,
            traffic: Traffic {
                read_bytes: (self.len * (each + 4)) as u64,
                write_bytes: (self.len * each) as u64,
                flops: self.len as u64,
            },
        })
    }
}

impl Spec for Add {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// None for no elements.
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        if self.len == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![self.launch(caps, knobs)?])
    }
}

/// The sums in f64.
///
/// # Errors
/// [`Error::Shape`] when `a` or `b` do not have `len` elements.
pub fn reference(spec: &Add, a: &[f32], b: &[f32]) -> Result<Vec<f64>> {
    for (what, found) in [("length of a", a.len()), ("length of b", b.len())] {
        if found != spec.len {
            return Err(Error::shape(what, spec.len, found));
        }
    }
    Ok(a.iter().zip(b).map(|(a, b)| f64::from(*a) + f64::from(*b)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_before_anything_else() {
        let caps = Caps { max_binding_bytes: 1 << 20, ..Caps::webgpu() };
        let launches =
            |len| Add { len, activation: Activation::F32 }.launches(&caps, &Knobs::DEFAULT);
        assert!(launches(0).unwrap().is_empty());
        let fits = launches(1 << 18).unwrap();
        assert_eq!(fits[0].traffic().bytes(), 12 << 18);
        assert!(matches!(launches((1 << 18) + 1), Err(Error::BindingTooLarge { .. })));
        let spec = Add { len: 2, activation: Activation::F16 };
        assert_eq!(reference(&spec, &[1.0, 2.0], &[0.5, -2.0]).unwrap(), [1.5, 0.0]);
        assert!(matches!(reference(&spec, &[1.0], &[0.5, 1.0]), Err(Error::Shape { .. })));
    }
}
