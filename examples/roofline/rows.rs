//! What is measured, as data.

use anyhow::Result;
use fewbytes::launch::{Caps, Knobs, Launch, Reduce, Spec};
use fewbytes::linear::{
    Activation, BitplaneLayout, BitplaneShape, DequantizeBitplane, GemvBitplane, TableElement,
};
use fewbytes::stream::{StreamCopy, StreamRead};
use fewbytes_wgpu::measure::Order;

/// Outputs, inputs, and the numbers of activation vectors to multiply with.
type Product = (usize, usize, &'static [usize]);

/// Linear layers of 7B to 70B models.
const PRODUCTS: [Product; 8] = [
    (4096, 4096, &[1]),
    (12288, 4096, &[1]),
    (22016, 4096, &[1]),
    (4096, 11008, &[1]),
    (8192, 8192, &[1]),
    (28672, 8192, &[1]),
    (14336, 4096, &[1]),
    (4096, 14336, &[1]),
];
const QUICK_PRODUCTS: [Product; 2] = [(4096, 4096, &[1]), (8192, 8192, &[1])];
/// Small enough for a CPU that plays a GPU.
const SOFTWARE_PRODUCTS: [Product; 2] = [(1024, 1024, &[1]), (512, 2048, &[1])];

const BITS: [u8; 7] = [2, 3, 4, 5, 6, 7, 8];
const QUICK_BITS: [u8; 3] = [2, 4, 8];

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) quick: bool,
    pub(crate) software: bool,
    /// Bytes between two uses of the same memory, where they were chosen.
    pub(crate) past_cache: Option<u64>,
}

impl Extent {
    fn products(self) -> &'static [Product] {
        match (self.software, self.quick) {
            (true, false) => &SOFTWARE_PRODUCTS,
            (true, true) => &SOFTWARE_PRODUCTS[..1],
            (false, true) => &QUICK_PRODUCTS,
            (false, false) => &PRODUCTS,
        }
    }

    fn bits(self) -> &'static [u8] {
        if self.quick { &QUICK_BITS } else { &BITS }
    }

    /// Bytes of the streams' buffers: all that a binding holds, unless a CPU has to do it.
    pub(crate) fn stream_bytes(self, caps: &Caps) -> u64 {
        let most = if self.software { 32 << 20 } else { u64::MAX };
        caps.bindable_bytes().min(most) / 16 * 16
    }
}

/// A described piece of work.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Read(StreamRead),
    Copy(StreamCopy),
    Gemv(GemvBitplane),
    Dequantize(DequantizeBitplane),
}

impl Work {
    pub(crate) fn spec(&self) -> &dyn Spec {
        match self {
            Self::Read(spec) => spec,
            Self::Copy(spec) => spec,
            Self::Gemv(spec) => spec,
            Self::Dequantize(spec) => spec,
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

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) work: Work,
    /// Outputs x inputs.
    pub(crate) shape: String,
    /// Width, element, vectors.
    pub(crate) setting: String,
    /// The variant that is asked for.
    pub(crate) variant: &'static str,
    pub(crate) knobs: Knobs,
    pub(crate) order: Order,
    /// Whether shaders check bounds.
    pub(crate) checked: bool,
}

impl Row {
    /// What filters look at and progress shows.
    pub(crate) fn name(&self) -> String {
        let checks = if self.checked { "" } else { " unchecked" };
        let Self { shape, setting, variant, order, .. } = self;
        format!("{} {shape} {setting} {variant} {}{checks}", self.work.kernel(), order.name())
    }
}

/// Every row for such a device, kernel by kernel and shape by shape.
pub(crate) fn all(
    caps: &Caps,
    extent: Extent,
    orders: &[Order],
    unchecked: bool,
) -> Result<Vec<Row>> {
    let mut plain = Vec::new();
    let subgroup = Knobs { reduce: Some(Reduce::Subgroup), ..Knobs::default() };
    let mut variants = vec![("baseline", Knobs::baseline())];
    if caps.subgroups {
        variants.insert(0, ("subgroup", subgroup));
    }
    let row = |work, (rows, cols): (usize, usize), setting, variant, knobs| Row {
        work,
        shape: format!("{rows}x{cols}"),
        setting,
        variant,
        knobs,
        order: Order::Chain,
        checked: true,
    };
    for &(rows, cols, batches) in extent.products() {
        let layout = layout(rows, cols, caps)?;
        for &batch in batches {
            for &bits in extent.bits() {
                for &(variant, knobs) in &variants {
                    let spec = GemvBitplane { batch, ..GemvBitplane::new(layout.clone(), bits) };
                    let vectors = if batch > 1 { format!(", {batch} vectors") } else { "".into() };
                    let setting = format!("{bits} bits{vectors}");
                    plain.push(row(Work::Gemv(spec), (rows, cols), setting, variant, knobs));
                }
            }
        }
    }
    let (rows, cols) = if extent.software { (1024, 1024) } else { (8192, 8192) };
    let layout = layout(rows, cols, caps)?;
    for element in [Activation::F16, Activation::F32] {
        for &bits in extent.bits() {
            let spec = DequantizeBitplane { layout: layout.clone(), bits, element };
            let setting = format!("{bits} bits to {}", element.name());
            let knobs = Knobs::default();
            plain.push(row(Work::Dequantize(spec), (rows, cols), setting, "baseline", knobs));
        }
    }
    let checks = if unchecked { &[true, false][..] } else { &[true] };
    let mut all = Vec::new();
    for row in plain {
        for &order in orders {
            for &checked in checks {
                all.push(Row { order, checked, ..row.clone() });
            }
        }
    }
    Ok(all)
}

fn layout(rows: usize, cols: usize, caps: &Caps) -> Result<BitplaneLayout> {
    let shape = BitplaneShape { rows, cols, seed_bits: 2, parent_bits: 8 };
    Ok(BitplaneLayout::for_shape(shape, &BITS, TableElement::F16, false, 8, caps)?)
}

/// Parts of names that must all be there, ignoring case.
#[derive(Debug)]
pub(crate) struct Filter(Vec<String>);

impl Filter {
    pub(crate) fn new(parts: &[String]) -> Self {
        Self(parts.iter().map(|part| part.to_lowercase()).collect())
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.0.iter().all(|part| name.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn caps() -> Caps {
        Caps {
            subgroups: true,
            max_binding_bytes: 1 << 31,
            max_buffer_bytes: 1 << 32,
            ..Caps::webgpu()
        }
    }

    #[test]
    fn every_row_has_its_own_name_and_can_be_launched() {
        for (quick, software) in [(false, false), (true, false), (false, true), (true, true)] {
            let orders = [Order::Chain, Order::Independent];
            let rows =
                all(&caps(), Extent { quick, software, past_cache: None }, &orders, true).unwrap();
            let names: BTreeSet<_> = rows.iter().map(Row::name).collect();
            assert_eq!(names.len(), rows.len());
            for row in &rows {
                assert!(!row.work.launches(&caps(), &row.knobs).unwrap().is_empty());
            }
        }
    }

    #[test]
    fn the_whole_matrix_is_there() {
        let count = |caps: &Caps, quick| {
            let extent = Extent { quick, software: false, past_cache: None };
            all(caps, extent, &[Order::Chain], false).unwrap().len()
        };
        // Shapes x widths x variants, and dequantizing to two elements.
        assert_eq!(count(&caps(), false), 8 * 7 * 2 + 2 * 7);
        assert_eq!(count(&Caps::webgpu(), false), 8 * 7 + 2 * 7);
        assert_eq!(count(&caps(), true), 2 * 3 * 2 + 2 * 3);
    }

    #[test]
    fn filters_must_all_match_and_ignore_case() {
        let filter = |parts: &[&str]| {
            Filter::new(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>())
        };
        let name = "gemv_bitplane 4096x4096 4 bits subgroup chain";
        assert!(filter(&[]).matches(name));
        assert!(filter(&["GEMV", "4 bits", "x4096"]).matches(name));
        assert!(!filter(&["gemv", "8 bits"]).matches(name));
    }

    #[test]
    fn streams_fill_a_binding_in_whole_quads() {
        let extent = Extent { quick: true, software: false, past_cache: None };
        assert_eq!(extent.stream_bytes(&caps()), (1 << 31) - 16);
        let extent = Extent { software: true, ..extent };
        assert_eq!(extent.stream_bytes(&caps()), 32 << 20);
    }
}
