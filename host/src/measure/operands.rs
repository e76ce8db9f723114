//! Made-up tensors for any launches, in as many copies as a rotation needs.

use super::{Budget, MOST_COPIES, Order};
use crate::{Arg, Bound, Context, Plan, View};
use fewbytes::launch::{Access, Launch};
use fewbytes::{Error, Result};
use std::collections::BTreeMap;

/// Bytes of noise that buffers are filled with, over and over.
const NOISE_BYTES: u64 = 16 << 20;
/// Copies of small tensors share buffers of up to this size.
const SHARED_BYTES: u64 = 256 << 20;
/// Outputs of an independent rotation: at most this many, and together at most this large unless
/// there are more copies than that.
const MOST_OUTPUTS: u64 = 512;
const OUTPUTS_BYTES: u64 = 64 << 20;

/// Tensors for launches whose time does not depend on what the tensors hold.
///
/// Inputs are noise: words that are at once codes of any kind, two f16 and one f32, all of them
/// finite and below 2 in magnitude. Launches whose inputs must hold something in particular
/// (indices, lengths) need tensors of the caller's; bind those by hand.
pub struct Operands {
    order: Order,
    /// Bounds of a rotation.
    len: usize,
    copies: usize,
    /// Slots of each piece of each binding.
    tensors: Vec<Slots>,
    bytes: u64,
}

/// One piece of one tensor, several times.
struct Slots {
    binding: u32,
    views: Vec<View>,
}

/// What launches ask of one piece of one binding.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    bytes: u64,
    written: bool,
}

/// Bytes from slot to slot: bindings start at multiples of 256.
const fn stride(bytes: u64) -> u64 {
    bytes.next_multiple_of(256)
}

impl Operands {
    /// Makes the tensors that these launches bind, in as many copies as the budget asks for, and
    /// outputs as the order wants them. Leaves room for the scratch memory of any of them, which
    /// [`Operands::rotation`] makes: once in a chain, otherwise for every bound.
    ///
    /// Launches of one spec that differ in knobs only can share them.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are no launches, and as [`Context::alloc`].
    pub fn new(ctx: &Context, launches: &[Launch], order: Order, budget: &Budget) -> Result<Self> {
        let extents = extents(launches)?;
        let bytes_of = |written| {
            let of = extents.values().filter(|extent| extent.written == written);
            of.map(|extent| stride(extent.bytes)).fold(0u64, u64::saturating_add)
        };
        let (read, write, scratch) = (bytes_of(false), bytes_of(true), scratch(launches));
        let tensors = read.saturating_add(write);
        let (copies, outputs) = match order {
            Order::Chain => {
                let copies = budget.copies_with(tensors, 0, scratch);
                (copies, copies)
            }
            Order::Independent => {
                let copies = budget.copies_with(tensors, scratch, 0);
                let left = budget.memory.saturating_sub(read.saturating_mul(copies as u64));
                let each = write.saturating_add(scratch).max(1);
                let most = (left.min(OUTPUTS_BYTES) / each).clamp(1, MOST_OUTPUTS);
                let outputs = usize::try_from(most).unwrap_or(1).max(copies).min(MOST_COPIES);
                (copies, outputs)
            }
        };
        let noise = noise(ctx, extents.values().map(|e| e.bytes).max().unwrap_or(0))?;
        let (mut tensors, mut bytes) = (Vec::new(), 0u64);
        for ((binding, _), extent) in &extents {
            let most = ctx.caps().max_buffer_bytes;
            let (count, shared) = match (extent.written, order) {
                (false, _) => (copies, SHARED_BYTES.min(most)),
                // One buffer, or nothing would keep the dispatches apart; as many places in it as
                // fit.
                (true, Order::Chain) => (outputs.min(places(extent.bytes, most)), most),
                (true, Order::Independent) => (outputs, 0),
            };
            let views = slots(ctx, *extent, count, shared, &noise)?;
            bytes = bytes.saturating_add(stride(extent.bytes).saturating_mul(count as u64));
            tensors.push(Slots { binding: *binding, views });
        }
        Ok(Self { order, len: outputs, copies, tensors, bytes })
    }

    /// Copies of what is read.
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// Bytes of all tensors together, scratch memory left out.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Binds a plan of these launches, or of others that use the same tensors, to every copy in
    /// turn. Lends it scratch memory where it wants some.
    ///
    /// # Errors
    /// As [`Plan::bind`] and [`Context::alloc`].
    pub fn rotation(&self, ctx: &Context, plan: &Plan) -> Result<Vec<Bound>> {
        self.rotation_with(ctx, plan, &[])
    }

    /// As [`Operands::rotation`], with tensors of the caller's for some bindings of one piece, the same
    /// for all bounds: what has to hold something in particular.
    ///
    /// # Errors
    /// As [`Operands::rotation`].
    pub fn rotation_with(
        &self,
        ctx: &Context,
        plan: &Plan,
        others: &[(u32, View)],
    ) -> Result<Vec<Bound>> {
        let bytes = usize::try_from(plan.scratch_bytes()).unwrap_or(usize::MAX);
        let lend = || if bytes > 0 { ctx.alloc::<u8>(bytes).map(Some) } else { Ok(None) };
        let shared = match self.order {
            Order::Chain => lend()?,
            Order::Independent => None,
        };
        let bind = |at: usize| match self.order {
            Order::Chain => self.bind(plan, at, others, shared.as_ref()),
            // Scratch memory is written too, so one for all would keep them apart.
            Order::Independent => self.bind(plan, at, others, lend()?.as_ref()),
        };
        (0..self.len).map(bind).collect()
    }

    /// Bounds of a rotation.
    #[cfg(feature = "tune")]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The one piece of a tensor that bound number `at` of a rotation has.
    #[cfg(feature = "tune")]
    pub(crate) fn view(&self, binding: u32, at: usize) -> Option<&View> {
        let slots = self.tensors.iter().find(|slots| slots.binding == binding)?;
        slots.views.get(at % slots.views.len().max(1))
    }

    /// Bound number `at` of a rotation, with scratch memory of its own and other views for some
    /// bindings.
    #[cfg(feature = "tune")]
    pub(crate) fn bound(
        &self,
        ctx: &Context,
        plan: &Plan,
        at: usize,
        others: &[(u32, View)],
    ) -> Result<Bound> {
        let bytes = usize::try_from(plan.scratch_bytes()).unwrap_or(usize::MAX);
        let scratch = if bytes > 0 { Some(ctx.alloc::<u8>(bytes)?) } else { None };
        self.bind(plan, at, others, scratch.as_ref())
    }

    fn bind(
        &self,
        plan: &Plan,
        at: usize,
        others: &[(u32, View)],
        scratch: Option<&View>,
    ) -> Result<Bound> {
        // Pieces of a binding follow each other in the list.
        let mut pieces: BTreeMap<u32, Vec<View>> = BTreeMap::new();
        for Slots { binding, views } in &self.tensors {
            let other = others.iter().find(|(number, _)| number == binding);
            let view = other.map(|(_, view)| view).or(views.get(at % views.len().max(1)));
            pieces.entry(*binding).or_default().extend(view.cloned());
        }
        let args: Vec<_> =
            pieces.iter().map(|(binding, pieces)| Arg { binding: *binding, pieces }).collect();
        plan.bind(&args, scratch)
    }
}

/// Places for one tensor that fit into so many bytes, one at least.
fn places(bytes: u64, within: u64) -> usize {
    usize::try_from(within / stride(bytes).max(1)).unwrap_or(usize::MAX).max(1)
}

/// Bytes of scratch memory that suffice for any of the launches.
fn scratch(launches: &[Launch]) -> u64 {
    let parts = launches.iter().flat_map(Launch::scratch);
    parts.map(|part| part.offset.saturating_add(part.bytes)).max().map_or(0, stride)
}

/// Bytes of every piece of every binding.
fn extents(launches: &[Launch]) -> Result<BTreeMap<(u32, u32), Extent>> {
    if launches.is_empty() {
        return Err(Error::shape("launches to measure", "at least one", 0));
    }
    let mut extents: BTreeMap<(u32, u32), Extent> = BTreeMap::new();
    for launch in launches {
        for operand in launch.operands() {
            let mut bindings = launch.bindings().iter();
            let written =
                bindings.any(|b| b.number == operand.binding && b.access == Access::ReadWrite);
            let extent = extents.entry((operand.binding, operand.piece)).or_default();
            extent.bytes = extent.bytes.max(operand.offset.saturating_add(operand.bytes));
            extent.written |= written;
        }
    }
    Ok(extents)
}

/// `count` places for one tensor, several in a buffer of up to `shared` bytes where they fit.
fn slots(
    ctx: &Context,
    extent: Extent,
    count: usize,
    shared: u64,
    noise: &View,
) -> Result<Vec<View>> {
    let (stride, bytes) = (stride(extent.bytes), extent.bytes);
    let each = places(bytes, shared).min(count.max(1));
    let mut views = Vec::with_capacity(count);
    while views.len() < count {
        let here = each.min(count - views.len());
        // The last place needs no room to the next, which may be what makes it fit.
        let size = stride.saturating_mul(here as u64 - 1).saturating_add(bytes);
        let all = ctx.alloc::<u8>(usize::try_from(size).unwrap_or(usize::MAX))?;
        if !extent.written {
            fill(ctx, &all, noise)?;
        }
        for place in 0..here as u64 {
            let element = crate::Element::U8;
            views.push(View::new(all.buffer(), place * stride, bytes, element)?);
        }
    }
    Ok(views)
}

/// Words without a pattern, at most as many as the largest tensor needs.
fn noise(ctx: &Context, largest: u64) -> Result<View> {
    let words = usize::try_from(largest.clamp(4, NOISE_BYTES).div_ceil(4)).unwrap_or(1);
    ctx.upload(&noise_words(words))
}

/// Words that are at once codes of any kind, two f16 and one f32, finite and below 2 in magnitude.
pub(crate) fn noise_words(words: usize) -> Vec<u32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    (0..words)
        .map(|_| {
            // Marsaglia's xorshift; the high half is the better one.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Without the top bit of their exponents no f16 and no f32 is infinite, NaN or large.
            (state >> 32) as u32 & 0xbfff_bfff
        })
        .collect()
}

/// Copies the noise over a buffer on the device, as often as it takes.
fn fill(ctx: &Context, to: &View, noise: &View) -> Result<()> {
    ctx.guarded().scoped("noise in a tensor", |device| {
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut at = 0;
        while at < to.bytes() {
            let bytes = noise.bytes().min(to.bytes() - at);
            encoder.copy_buffer_to_buffer(noise.buffer(), 0, to.buffer(), at, bytes);
            at += bytes;
        }
        ctx.queue().submit([encoder.finish()]);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fewbytes::linear::{BitplaneLayout, BitplaneShape, GemvBitplane, TableElement};
    use fewbytes::{Knobs, Spec as _};

    fn noop() -> Context {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        Context::new(&device, &queue).unwrap()
    }

    #[test]
    fn a_tensor_without_bytes_has_a_place() {
        assert_eq!([places(0, 1000), places(0, 0), places(1000, 0)], [1000, 1, 1]);
        assert_eq!([places(256, 1000), places(257, 1000)], [3, 1]);
        let (ctx, noise) = (noop(), noise(&noop(), 0).unwrap());
        for written in [true, false] {
            let extent = Extent { bytes: 0, written };
            assert_eq!(slots(&ctx, extent, 3, 1 << 20, &noise).unwrap().len(), 3);
        }
    }

    #[test]
    fn scratch_memory_and_tensors_stay_within_the_budget() {
        let ctx = noop();
        let shape = BitplaneShape { rows: 4096, cols: 256, seed_bits: 2, parent_bits: 4 };
        let layout =
            BitplaneLayout::for_shape(shape, &[4], TableElement::F16, false, 4, ctx.caps());
        let spec = GemvBitplane::new(layout.unwrap(), 4);
        let sliced = Knobs { slices: Some(8), ..Knobs::default() };
        let launches = spec.launches(ctx.caps(), &sliced).unwrap();
        let plan = ctx.plan_launches(launches.clone()).unwrap();
        let scratch = plan.scratch_bytes();
        let one =
            Operands::new(&ctx, &launches, Order::Chain, &Budget { past_cache: 0, memory: 0 });
        let one = one.unwrap().bytes();
        for past_cache in [0, 1 << 20, 1 << 30] {
            for memory in [one + scratch, 3 * one + scratch, 10 * (one + scratch)] {
                for order in [Order::Chain, Order::Independent] {
                    let budget = Budget { past_cache, memory };
                    let operands = Operands::new(&ctx, &launches, order, &budget).unwrap();
                    let rotation = operands.rotation(&ctx, &plan).unwrap().len() as u64;
                    let lent = if order == Order::Chain { 1 } else { rotation };
                    let taken = operands.bytes() + lent * scratch;
                    assert!(taken <= memory, "{order:?}: {taken} of {memory}");
                }
            }
        }
    }
}
