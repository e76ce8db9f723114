//! What is measured, as data.

use crate::batched;
use crate::checks::Checks;
use crate::residual;
use crate::work::Work;
use anyhow::Result;
use fewbytes::launch::{Caps, Knobs, Lookup, Masks, Reduce, Spec};
use fewbytes::linear::{
    Activation, Arithmetic, BitplaneLayout, BitplaneShape, DequantizeBitplane, GemvBitplane,
    GemvVector, TableElement, VectorLayout, VectorShape,
};
use fewbytes_wgpu::measure::Order;

/// A linear layer, and what is measured of it besides one vector of f16 at every width.
#[derive(Debug, Clone, Copy)]
struct Product {
    rows: usize,
    cols: usize,
    /// Further numbers of vectors.
    batches: &'static [usize],
    /// Activations of f32 too.
    single: bool,
    /// What each choice of the kernel costs.
    forms: bool,
}

const fn product(rows: usize, cols: usize) -> Product {
    Product { rows, cols, batches: &[], single: false, forms: false }
}

/// Linear layers of 7B to 70B models.
const PRODUCTS: [Product; 8] = [
    Product { single: true, ..product(4096, 4096) },
    product(12288, 4096),
    Product { ..product(22016, 4096) },
    product(4096, 11008),
    Product { batches: &[2, 4, 8], single: true, forms: true, ..product(8192, 8192) },
    Product { forms: true, ..product(28672, 8192) },
    product(14336, 4096),
    product(4096, 14336),
];
const QUICK_PRODUCTS: [Product; 2] = [
    product(4096, 4096),
    Product { batches: &[8], single: true, forms: true, ..product(8192, 8192) },
];
/// Small enough for a CPU that plays a GPU.
const SOFTWARE_PRODUCTS: [Product; 2] = [
    Product { batches: &[8], single: true, forms: true, ..product(1024, 1024) },
    product(512, 2048),
];

const BITS: [u8; 7] = [2, 3, 4, 5, 6, 7, 8];
const QUICK_BITS: [u8; 3] = [2, 4, 8];
const HALF_BITS: [u8; 2] = [2, 3];
const FORM_BITS: [u8; 4] = [2, 4, 6, 8];
/// Codes for two weights: 2, 2.5 and 3 bits a weight.
const CODE_BITS: [u8; 3] = [4, 5, 6];

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) quick: bool,
    pub(crate) software: bool,
    /// Whether to measure what each choice of a kernel costs.
    pub(crate) forms: bool,
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

    /// Those of some widths that are measured.
    fn among(self, widths: &[u8]) -> impl Iterator<Item = u8> + '_ {
        widths.iter().copied().filter(move |bits| self.bits().contains(bits))
    }

    /// Bytes of the streams' buffers: all that a binding holds, unless a CPU has to do it.
    pub(crate) fn stream_bytes(self, caps: &Caps) -> u64 {
        let most = if self.software { 32 << 20 } else { u64::MAX };
        caps.bindable_bytes().min(most) / 16 * 16
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
    pub(crate) knobs: Knobs,
    /// Whether the knobs were found by measurement: then they are no part of what the row is.
    pub(crate) tuned: bool,
    pub(crate) order: Order,
    pub(crate) checks: Checks,
}

impl Row {
    pub(crate) fn new(work: Work, (rows, cols): (usize, usize), setting: String) -> Self {
        let shape = format!("{rows}x{cols}");
        let (knobs, order, checks) = (Knobs::DEFAULT, Order::Chain, Checks::Bounds);
        Self { work, shape, setting, knobs, tuned: false, order, checks }
    }

    /// The knobs that the row asks for, in words; nothing for the defaults.
    pub(crate) fn form(&self) -> String {
        match (self.tuned, self.knobs == Knobs::DEFAULT) {
            (true, _) => "tuned".to_owned(),
            (false, true) => String::new(),
            (false, false) => name_of(&self.knobs),
        }
    }

    /// What filters look at and progress shows.
    pub(crate) fn name(&self) -> String {
        let form = self.form();
        let form = if form.is_empty() { "defaults" } else { form.as_str() };
        let parts = [
            self.work.kernel(),
            &self.shape,
            &self.setting,
            form,
            self.order.name(),
            self.checks.name(),
        ];
        parts.join(" ").trim_end().to_owned()
    }
}

/// Knobs in a few words.
pub(crate) fn name_of(knobs: &Knobs) -> String {
    // Written out it would tell of matrices to kernels that have none.
    if *knobs == Knobs::baseline() {
        return "baseline".to_owned();
    }
    let lower = |name: String| name.to_lowercase();
    let parts = [
        knobs.workgroup.map(|lanes| format!("{lanes} lanes")),
        knobs.rows.map(|rows| format!("{rows} rows")),
        knobs.reduce.map(|reduce| lower(format!("reduce {reduce:?}"))),
        knobs.lookup.map(|lookup| lower(format!("lookup {lookup:?}"))),
        knobs.unroll.map(|unroll| if unroll { "unrolled" } else { "loop" }.to_owned()),
        knobs.slices.map(|slices| format!("{slices} slices")),
        knobs.masks.map(|masks| lower(format!("{masks:?} masks"))),
        knobs.matrix.map(|matrix| if matrix { "matrices" } else { "no matrices" }.to_owned()),
        knobs.route.map(|route| lower(format!("by {route:?}"))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "defaults".to_owned() } else { parts.join(", ") }
}

/// Every row for such a device, kernel by kernel and shape by shape.
pub(crate) fn all(
    caps: &Caps,
    extent: Extent,
    orders: &[Order],
    unchecked: bool,
) -> Result<Vec<Row>> {
    let mut plain = Vec::new();
    for product in extent.products() {
        plain.extend(products(caps, extent, product)?);
    }
    plain.extend(batched::rows(caps, extent)?);
    plain.extend(residual::rows(extent)?);
    let side = if extent.software { 1024 } else { 8192 };
    for code_bits in CODE_BITS {
        let shape = VectorShape { rows: side, cols: side, code_bits };
        let layout = VectorLayout::for_shape(shape, TableElement::F16, false, caps)?;
        let spec = GemvVector { activation: Activation::F16, ..GemvVector::new(layout) };
        let setting = format!("{code_bits} bits a pair f16");
        plain.push(Row::new(Work::Vector(spec), (side, side), setting));
    }
    let layout = layout(side, side, caps)?;
    for element in [Activation::F16, Activation::F32] {
        for &bits in extent.bits() {
            let spec = DequantizeBitplane { layout: layout.clone(), bits, element };
            let setting = format!("{bits} bits to {}", element.name());
            plain.push(Row::new(Work::Dequantize(spec), (side, side), setting));
        }
    }
    let mut all = Vec::new();
    for row in plain {
        for &order in orders {
            all.push(Row { order, ..row.clone() });
            if unchecked && row.checks == Checks::Bounds && row.knobs == Knobs::DEFAULT {
                all.push(Row { order, checks: Checks::Unchecked, ..row.clone() });
            }
        }
    }
    // Last, since they are read on their own.
    let forms = extent.products().iter().filter(|product| extent.forms && product.forms);
    for product in forms {
        for row in forms_of(caps, extent, product)? {
            all.extend(orders.iter().map(|&order| Row { order, ..row.clone() }));
        }
    }
    Ok(all)
}

/// Rows of one layer with the kernel's own choices.
fn products(caps: &Caps, extent: Extent, product: &Product) -> Result<Vec<Row>> {
    let &Product { rows, cols, batches, single, .. } = product;
    let layout = layout(rows, cols, caps)?;
    let new =
        |bits, activation| GemvBitplane { activation, ..GemvBitplane::new(layout.clone(), bits) };
    let row = |spec: GemvBitplane, setting| Row::new(Work::Gemv(spec), (rows, cols), setting);
    let mut all = Vec::new();
    for &bits in extent.bits() {
        all.push(row(new(bits, Activation::F16), format!("{bits} bits f16")));
    }
    for &batch in batches {
        for &bits in extent.bits() {
            let spec = GemvBitplane { batch, ..new(bits, Activation::F16) };
            all.push(row(spec, format!("{bits} bits f16, {batch} vectors")));
        }
    }
    for bits in extent.among(&HALF_BITS).filter(|_| caps.f16) {
        let spec = GemvBitplane { arithmetic: Arithmetic::F16, ..new(bits, Activation::F16) };
        all.push(row(spec, format!("{bits} bits f16, f16 products")));
    }
    for &bits in extent.bits().iter().filter(|_| single) {
        all.push(row(new(bits, Activation::F32), format!("{bits} bits f32")));
    }
    Ok(all)
}

/// Rows of one layer that differ from the kernel's own choices in one thing. Those that the kernel
/// refuses or that change nothing are left out.
fn forms_of(caps: &Caps, extent: Extent, product: &Product) -> Result<Vec<Row>> {
    let base = Knobs::DEFAULT;
    let reduce = [Reduce::Workgroup, Reduce::Subgroup, Reduce::Scatter];
    let lookup = [Lookup::Single, Lookup::Half, Lookup::Pair];
    let mut choices = Vec::new();
    choices.extend(reduce.map(|reduce| Knobs { reduce: Some(reduce), ..base }));
    choices.extend(lookup.map(|lookup| Knobs { lookup: Some(lookup), ..base }));
    choices.push(Knobs { unroll: Some(false), ..base });
    choices
        .extend([Masks::Constant, Masks::Hidden].map(|masks| Knobs { masks: Some(masks), ..base }));
    let mut all = Vec::new();
    for default in products(caps, Extent { quick: false, ..extent }, product)? {
        let Work::Gemv(spec) = &default.work else { continue };
        let plain = spec.batch == 1
            && spec.activation == Activation::F16
            && spec.arithmetic == Arithmetic::F32;
        if !plain || !extent.among(&FORM_BITS).any(|bits| bits == spec.bits) {
            continue;
        }
        let launches = spec.launches(caps, &base)?;
        let differs = |knobs: &&Knobs| spec.launches(caps, knobs).is_ok_and(|l| l != launches);
        all.extend(choices.iter().filter(differs).map(|&knobs| Row { knobs, ..default.clone() }));
        for checks in [Checks::LoopGuard, Checks::ZeroedMemory] {
            all.push(Row { checks, ..default.clone() });
        }
    }
    Ok(all)
}

pub(crate) fn layout(rows: usize, cols: usize, caps: &Caps) -> Result<BitplaneLayout> {
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
    use fewbytes::launch::{MatrixShape, Route};
    use std::collections::BTreeSet;

    fn caps() -> Caps {
        Caps {
            subgroups: true,
            subgroup_min: 32,
            subgroup_max: 32,
            f16: true,
            max_binding_bytes: 1 << 31,
            max_buffer_bytes: 1 << 32,
            ..Caps::webgpu()
        }
    }

    fn extent(quick: bool, software: bool) -> Extent {
        Extent { quick, software, forms: !quick, past_cache: None }
    }

    #[test]
    fn every_row_has_its_own_name_and_can_be_launched() {
        for (quick, software) in [(false, false), (true, false), (false, true), (true, true)] {
            let orders = [Order::Chain, Order::Independent];
            let extent = Extent { forms: true, ..extent(quick, software) };
            let rows = all(&caps(), extent, &orders, true).unwrap();
            let names: BTreeSet<_> = rows.iter().map(Row::name).collect();
            assert_eq!(names.len(), rows.len());
            for row in &rows {
                assert!(!row.work.launches(&caps(), &row.knobs).unwrap().is_empty());
            }
        }
    }

    #[test]
    fn the_whole_matrix_is_there() {
        let count = |caps: &Caps, extent| all(caps, extent, &[Order::Chain], false).unwrap().len();
        let full = Extent { forms: false, ..extent(false, false) };
        // Shapes x widths; vectors x widths; f16 products; f32 activations; pairs; dequantizing; many
        // vectors x shapes x routes, f16 and f32 among them; sums of Hessians and products with one;
        // channels selected and compensated, shapes x numbers of them; what that is added by.
        let many = 2 * (5 * (3 + 2) + 3) + 3;
        assert_eq!(count(&caps(), full), 8 * 7 + 3 * 7 + 8 * 2 + 2 * 7 + 3 + 2 * 7 + many + 8 + 2);
        let without = Caps { f16: false, ..caps() };
        assert_eq!(count(&without, full), 8 * 7 + 3 * 7 + 2 * 7 + 3 + 2 * 7 + many + 8 + 2);
        assert_eq!(
            count(&caps(), extent(true, false)),
            2 * 3 + 3 + 2 + 3 + 3 + 2 * 3 + 2 * 5 + 1 + 3 + 4 + 1
        );
    }

    #[test]
    fn products_by_matrices_stand_beside_the_same_by_lanes() {
        let matrices = Caps { matrices: vec![MatrixShape::HALVES], ..caps() };
        let quick = |caps: &Caps| all(caps, extent(true, false), &[Order::Chain], false).unwrap();
        let (with, without) = (quick(&matrices), quick(&caps()));
        let added: Vec<_> = with.iter().filter(|row| row.knobs.matrix == Some(false)).collect();
        assert_eq!(with.len(), without.len() + added.len());
        // Of each number of vectors: the default, both routes, f16; eights have no matrices.
        assert_eq!(added.len(), 2 * 4);
        for row in added {
            assert!(row.form().contains("no matrices"), "{}", row.name());
            let open = Row { knobs: Knobs { matrix: None, ..row.knobs }, ..row.clone() };
            assert!(with.iter().any(|other| other.name() == open.name()), "{}", open.name());
        }
    }

    #[test]
    fn forms_differ_from_the_defaults_in_one_thing_each() {
        let rows = all(&caps(), extent(false, false), &[Order::Chain], false).unwrap();
        let of = |setting: &str| -> Vec<String> {
            let wanted = |row: &&Row| row.shape == "28672x8192" && row.setting == setting;
            let asked = rows.iter().filter(wanted).map(|row| row.form() + row.checks.name());
            asked.filter(|asked| !asked.is_empty()).collect()
        };
        let always = ["loop", "hidden masks", "loop guard", "zeroed workgroup memory"];
        // Subgroups are the default, and pairs at 2 bits; pairs are for up to 4.
        for (setting, lookups) in [
            ("2 bits f16", ["lookup single", "lookup half"]),
            ("4 bits f16", ["lookup half", "lookup pair"]),
        ] {
            let reduce = ["reduce workgroup", "reduce scatter"];
            assert_eq!(of(setting), [&reduce[..], &lookups[..], &always[..]].concat());
        }
        assert!(!of("8 bits f16").contains(&"lookup pair".to_owned()));
        assert!(of("3 bits f16").is_empty());
        let none = Extent { forms: false, ..extent(false, false) };
        let without = all(&caps(), none, &[Order::Chain], false).unwrap();
        // Routes are what products of many vectors are about.
        let routed = |row: &Row| matches!(row.work, Work::Matmul(_));
        assert!(without.iter().all(|row| row.form().is_empty() || routed(row)));
    }

    #[test]
    fn knobs_have_names_of_their_own() {
        let base = Knobs::DEFAULT;
        let names: BTreeSet<_> = [
            base,
            Knobs { workgroup: Some(64), ..base },
            Knobs { rows: Some(64), ..base },
            Knobs { slices: Some(64), ..base },
            Knobs { unroll: Some(true), ..base },
            Knobs { unroll: Some(false), ..base },
            Knobs { masks: Some(Masks::Hidden), ..base },
            Knobs { masks: Some(Masks::Constant), ..base },
            Knobs { lookup: Some(Lookup::Half), ..base },
            Knobs { reduce: Some(Reduce::Scatter), ..base },
            Knobs { matrix: Some(true), ..base },
            Knobs { matrix: Some(false), ..base },
            Knobs { route: Some(Route::Dense), ..base },
        ]
        .iter()
        .map(name_of)
        .collect();
        assert_eq!(names.len(), 13);
        assert_eq!(name_of(&Knobs::baseline()), "baseline");
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
        let extent = extent(true, false);
        assert_eq!(extent.stream_bytes(&caps()), (1 << 31) - 16);
        let extent = Extent { software: true, ..extent };
        assert_eq!(extent.stream_bytes(&caps()), 32 << 20);
    }
}
