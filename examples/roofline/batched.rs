//! Products of many vectors, and those of calibration: which rows, and how fast they are in
//! operations.

use crate::report::{Device, Figure};
use crate::rows::{Extent, Row, layout};
use crate::table::table;
use crate::work::Work;
use anyhow::Result;
use fewbytes::launch::{Caps, Knobs, Route};
use fewbytes::linear::gemm::{self, Block};
use fewbytes::linear::{
    Activation, Gemm, HessianLayout, HessianUpdate, LnqLayout, LnqProduct, MatmulBitplane, Panel,
    hessian_update, lnq_product, matmul_bitplane,
};

/// Width of the any-precision weights.
const BITS: u8 = 4;
const SHAPES: [(usize, usize); 2] = [(4096, 4096), (14336, 4096)];
const BATCHES: [usize; 5] = [16, 32, 64, 256, 1024];
/// The most vectors for which several products of eight stand beside the others.
const IN_EIGHTS: usize = 64;
/// Inputs of a panel of LNQ, the host's default.
const PANEL: usize = 512;
/// Small enough for a CPU that plays a GPU.
const SOFTWARE_SHAPES: [(usize, usize); 1] = [(256, 256)];

/// Every route of the product with any-precision weights, and dense matrices, side by side.
pub(crate) fn rows(caps: &Caps, extent: Extent) -> Result<Vec<Row>> {
    let shapes = match (extent.software, extent.quick) {
        (true, _) => &SOFTWARE_SHAPES[..],
        (false, true) => &SHAPES[..1],
        (false, false) => &SHAPES[..],
    };
    let batches = match (extent.software, extent.quick) {
        (true, _) => &BATCHES[..1],
        (false, true) => &BATCHES[2..4],
        (false, false) => &BATCHES[..],
    };
    let mut all = Vec::new();
    for (&(rows, cols), &batch) in shapes.iter().flat_map(|s| batches.iter().map(move |b| (s, b))) {
        let layout = layout(rows, cols, caps)?;
        // The default is one of the others, and what a tuner starts from.
        let eights = (batch <= IN_EIGHTS).then_some(Some(Route::Gemv));
        for route in [None, Some(Route::Gemm), Some(Route::Dense)].into_iter().chain(eights) {
            let activation = Activation::F16;
            let new = MatmulBitplane::new(layout.clone(), BITS, batch);
            let work = Work::Matmul(MatmulBitplane { activation, ..new });
            let setting = format!("{BITS} bits f16, {batch} vectors");
            let knobs = Knobs { route, ..Knobs::DEFAULT };
            all.extend(by_lanes_too(Row { knobs, ..Row::new(work, (rows, cols), setting) }, caps));
        }
        for element in [Activation::F16, Activation::F32] {
            let block = |cols| Block::packed(element, cols);
            let (w, x, y) = (block(cols), block(cols), block(rows));
            let work = Work::Gemm(Gemm { w, x, y, ..Gemm::new(batch, rows, cols) });
            let setting = format!("{} {batch} vectors", element.name());
            all.extend(by_lanes_too(Row::new(work, (rows, cols), setting), caps));
        }
    }
    all.extend(calibration(caps, extent)?);
    Ok(all)
}

/// What quantizing by what goes into a layer spends its time on: sums of Hessians, and products with
/// one, of all offsets and of what a panel's changes add.
fn calibration(caps: &Caps, extent: Extent) -> Result<Vec<Row>> {
    let (side, tokens) = if extent.software { (256, 256) } else { (4096, 1024) };
    let groups = 4;
    let layout = HessianLayout::new(side, groups, caps)?;
    let work =
        Work::Hessian(HessianUpdate { weighted: true, ..HessianUpdate::new(layout, tokens) });
    let setting = format!("{groups} groups f32, {tokens} tokens");
    let mut all = vec![Row::new(work, (side, side), setting)];
    let layout = LnqLayout { rows: side, cols: side, bits: 3 };
    let pieces = layout.pieces(caps)?;
    let panels = |width| Panel::all(&pieces, width).into_iter().next();
    if let (Some(whole), Some(panel)) = (panels(usize::MAX), panels(PANEL)) {
        let product = |panel, changed| Work::LnqProduct(LnqProduct { layout, panel, changed });
        let setting = format!("offsets to {} inputs", panel.width);
        all.push(Row::new(product(panel, None), (side, side), setting));
        let setting = format!("{} changes to {} inputs", panel.width, whole.width);
        all.push(Row::new(product(whole, Some(panel)), (side, side), setting));
    }
    Ok(all)
}

/// A row, and beside one that takes cooperative matrices by default the same without.
fn by_lanes_too(row: Row, caps: &Caps) -> Vec<Row> {
    let knobs = Knobs { matrix: Some(false), ..row.knobs };
    let made = |knobs: &Knobs| row.work.launches(caps, knobs).ok();
    let lanes = (made(&row.knobs) != made(&knobs)).then(|| Row { knobs, ..row.clone() });
    [row].into_iter().chain(lanes).collect()
}

/// Operations a second of the rows that are bound by arithmetic, or nothing where there are none.
pub(crate) fn text(device: &Device) -> String {
    let mut rows = table(&["kernel", "shape", "setting", "variant", "us", "TFLOP/s"], 4);
    let many = device.figures.iter().filter(|figure| is_many(figure)).collect::<Vec<_>>();
    for figure in &many {
        let ns = figure.timing.dispatch_ns.median;
        rows.add_row(vec![
            figure.kernel.clone(),
            figure.shape.clone(),
            figure.setting.clone(),
            figure.label(),
            crate::table::microseconds(ns),
            teraflops(figure.flops as f64 / ns / 1e3),
        ]);
    }
    if many.is_empty() { String::new() } else { format!("{}\n", rows.trim_fmt()) }
}

/// Digits that mean something, on a software adapter too.
fn teraflops(per_second: f64) -> String {
    let digits = if per_second < 1.0 { 4 } else { 2 };
    format!("{per_second:.digits$}")
}

/// Kernels that are there for many vectors at a time, however many a row has.
const MANY: [&str; 4] =
    [gemm::NAME, matmul_bitplane::NAME, hessian_update::NAME, lnq_product::NAME];

fn is_many(figure: &Figure) -> bool {
    MANY.contains(&figure.kernel.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn operations_are_told_of_products_of_many_vectors_and_of_no_others() {
        let mut device = report(&[("16 vectors", 5.0), ("1 vector", 5.0)]).devices.remove(0);
        // Many operations a byte make no product of many vectors of one of few.
        device.figures[1].flops = 100 * device.figures[1].bytes;
        assert!(text(&device).is_empty());
        // 1e8 operations in 5 us, with few a byte.
        device.figures[0].kernel = "gemm".to_owned();
        device.figures[0].flops = 100_000_000;
        device.figures[0].bytes = 10_000_000;
        let text = text(&device);
        assert!(text.contains("16 vectors") && text.contains("20.00"), "{text}");
        assert!(!text.contains("1 vector "), "{text}");
    }
}
