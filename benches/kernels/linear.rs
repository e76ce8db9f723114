//! The room of weights.

use crate::{Device, row};
use criterion::{BenchmarkId, Criterion};
use fewbytes::launch::Route;
use fewbytes::linear::compensate::Source;
use fewbytes::linear::gemm::Block;
use fewbytes::linear::select;
use fewbytes::linear::select_channels::Method as SelectMethod;
use fewbytes::linear::{
    Activation, Add, BitplaneLayout, BitplaneShape, Compensate, DequantizeBitplane,
    DequantizeVector, Gemm, GemmBitplane, GemvBitplane, GemvVector, HessianLayout, HessianUpdate,
    LnqDescent, LnqGram, LnqLayout, LnqObjective, LnqProduct, LnqTable, MatmulBitplane, Panel,
    ResidualElement, ResidualLayout, SelectChannels, SumSlices, TableElement, VectorLayout,
    VectorShape,
};
use fewbytes::{Knobs, Spec};

/// Weights of any precision, and what quantizes them.
pub(crate) fn kernels(criterion: &mut Criterion) {
    let ctx = Device::open();
    let software = ctx.is_software();
    let (rows, cols) = if software { (1024, 1024) } else { (4096, 4096) };
    println!("{}: {rows} x {cols}", ctx.describe());
    let plain = Knobs::default();

    let shape = BitplaneShape { rows, cols, seed_bits: 2, parent_bits: 8 };
    let widths: Vec<u8> = (2..=8).collect();
    let layout = BitplaneLayout::for_shape(shape, &widths, TableElement::F16, false, 8, ctx.caps());
    let layout = layout.expect("a layout");

    let mut group = criterion.benchmark_group("gemv_bitplane");
    let mut variants = vec![("baseline", Knobs::baseline())];
    if ctx.caps().subgroups {
        variants.push(("subgroup", Knobs::default()));
    }
    for (variant, knobs) in variants {
        for bits in 2..=8 {
            let spec = GemvBitplane::new(layout.clone(), bits);
            row(&mut group, &ctx, BenchmarkId::new(variant, bits), &spec, &knobs);
        }
    }
    for batch in [2, 4, 8] {
        let spec = GemvBitplane { batch, ..GemvBitplane::new(layout.clone(), 4) };
        row(&mut group, &ctx, BenchmarkId::new(format!("{batch} vectors"), 4), &spec, &plain);
    }
    let sliced = Knobs { slices: Some(4), ..plain };
    let spec = GemvBitplane::new(layout.clone(), 4);
    row(&mut group, &ctx, BenchmarkId::new("4 slices", 4), &spec, &sliced);
    group.finish();

    let mut group = criterion.benchmark_group("gemv_vector");
    let pairs = |code_bits| {
        let shape = VectorShape { rows, cols, code_bits };
        VectorLayout::for_shape(shape, TableElement::F16, false, ctx.caps()).expect("a layout")
    };
    for code_bits in 2..=6 {
        let spec = GemvVector::new(pairs(code_bits));
        row(&mut group, &ctx, BenchmarkId::new("default", code_bits), &spec, &plain);
    }
    let written_out = Knobs { unroll: Some(true), rows: Some(2), ..plain };
    row(
        &mut group,
        &ctx,
        BenchmarkId::new("written out", 4),
        &GemvVector::new(pairs(4)),
        &written_out,
    );
    group.finish();

    let mut group = criterion.benchmark_group("sum_slices");
    let activation = Activation::F32;
    let spec = SumSlices { rows: 1 << 16, batch: 1, slices: 8, activation, bias: false };
    row(&mut group, &ctx, BenchmarkId::new("f32", 8), &spec, &plain);
    group.finish();

    let mut group = criterion.benchmark_group("gemm_bitplane");
    let batches: &[usize] = if software { &[16, 64] } else { &[16, 64, 256, 1024] };
    for &batch in batches {
        for bits in [2, 4, 8] {
            let spec = GemmBitplane::new(layout.clone(), bits, batch);
            let id = BenchmarkId::new(format!("{batch} vectors"), bits);
            row(&mut group, &ctx, id, &spec, &plain);
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("matmul_bitplane");
    let shapes: &[usize] = if software { &[rows] } else { &[rows, 14336] };
    for (&rows, &batch) in shapes.iter().flat_map(|rows| batches.iter().map(move |b| (rows, b))) {
        let shape = BitplaneShape { rows, ..shape };
        let table = TableElement::F16;
        let layout = BitplaneLayout::for_shape(shape, &[4], table, false, 4, ctx.caps());
        let spec = MatmulBitplane::new(layout.expect("a layout"), 4, batch);
        let spec = MatmulBitplane { activation: Activation::F16, ..spec };
        for route in [Route::Gemm, Route::Dense] {
            let knobs = Knobs { route: Some(route), ..plain };
            let id = BenchmarkId::new(format!("{route:?} {batch} vectors"), rows);
            row(&mut group, &ctx, id, &spec, &knobs);
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("gemm");
    for &batch in batches {
        for element in [Activation::F32, Activation::F16] {
            let (w, y) = (Block::packed(element, cols), Block::packed(element, rows));
            let spec = Gemm { w, x: w, y, ..Gemm::new(batch, rows, cols) };
            let id = BenchmarkId::new(format!("{batch} vectors"), element.name());
            row(&mut group, &ctx, id, &spec, &plain);
        }
    }
    group.finish();

    // The half steps of LNQ: a panel's product and visits, the sums and the tables of all rows.
    let mut group = criterion.benchmark_group("lnq");
    for bits in [2, 4] {
        let layout = LnqLayout { rows, cols, bits };
        let pieces = layout.pieces(ctx.caps()).expect("pieces");
        let panel = Panel::all(&pieces, 512)[0];
        let mut one = |name: &str, spec: &dyn Spec| {
            row(&mut group, &ctx, BenchmarkId::new(name, bits), spec, &plain);
        };
        one("lnq_descent", &LnqDescent { layout, panel });
        one("lnq_gram", &LnqGram { layout, piece: pieces[0], rows: 0..rows });
        one("lnq_table", &LnqTable { layout });
        if bits == 4 {
            one("lnq_product", &LnqProduct { layout, panel, changed: None });
            let all = Panel::all(&pieces, usize::MAX)[0];
            let update = LnqProduct { layout, panel: all, changed: Some(panel) };
            one("lnq_product of changes", &update);
            one("lnq_objective", &LnqObjective { layout });
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("dequantize_bitplane");
    for (bits, element) in [(2, Activation::F16), (4, Activation::F16), (8, Activation::F32)] {
        let spec = DequantizeBitplane { layout: layout.clone(), bits, element };
        row(&mut group, &ctx, BenchmarkId::new(element.name(), bits), &spec, &plain);
    }
    group.finish();

    let mut group = criterion.benchmark_group("dequantize_vector");
    for (code_bits, element) in [(4, Activation::F16), (6, Activation::F32)] {
        let spec = DequantizeVector { layout: pairs(code_bits), element };
        row(&mut group, &ctx, BenchmarkId::new(element.name(), code_bits), &spec, &plain);
    }
    group.finish();
}

/// Selecting and compensating; what buffers are filled with is no list, but activations as good as any.
pub(crate) fn residuals(criterion: &mut Criterion) {
    let ctx = Device::open();
    let software = ctx.is_software();
    let (rows, cols) = if software { (512, 2048) } else { (28_672, 4096) };
    println!("{}: residuals of {rows}x{cols}", ctx.describe());
    let activation = Activation::F16;
    for k_chunk in [8, 32] {
        let budget = select::Budget::new(cols, k_chunk).expect("a budget");
        let mut group = criterion.benchmark_group("select_channels");
        for method in [SelectMethod::ChunkRadix, SelectMethod::Exact] {
            let spec = SelectChannels { activation, method, ..SelectChannels::new(budget) };
            let id = BenchmarkId::new(spec.setting(), k_chunk);
            row(&mut group, &ctx, id, &spec, &Knobs::default());
        }
        group.finish();
        let mut group = criterion.benchmark_group("compensate");
        for element in ResidualElement::ALL {
            let layout = ResidualLayout::new(rows, cols, element).expect("a layout");
            let source = Source::Own { method: SelectMethod::ChunkRadix, weighted: false };
            let spec = Compensate { activation, source, ..Compensate::new(layout, budget) };
            let id = BenchmarkId::new(element.name(), k_chunk);
            row(&mut group, &ctx, id, &spec, &Knobs::default());
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group("add");
    for activation in [Activation::F32, Activation::F16] {
        let id = BenchmarkId::new(activation.name(), rows);
        row(&mut group, &ctx, id, &Add { len: rows, activation }, &Knobs::default());
    }
    group.finish();
}

pub(crate) fn hessians(criterion: &mut Criterion) {
    let ctx = Device::open();
    let software = ctx.is_software();
    let (inputs, tokens) = if software { (512, 128) } else { (4096, 1024) };
    println!("{}: {inputs} inputs, {tokens} tokens", ctx.describe());
    let mut group = criterion.benchmark_group("hessian_update");
    for groups in [1, 4] {
        let layout = HessianLayout::new(inputs, groups, ctx.caps()).expect("a layout");
        for activation in [Activation::F32, Activation::F16] {
            let spec = HessianUpdate { activation, ..HessianUpdate::new(layout.clone(), tokens) };
            let id = BenchmarkId::new(activation.name(), groups);
            row(&mut group, &ctx, id, &spec, &Knobs::default());
        }
    }
    group.finish();
}
