//! Every label that one cycle gives, judged in f64.

use super::*;
use fewbytes::linear::lnq_descent::{
    CHANGES, HESSIAN, INVERSE, LABELS, OFF, PULL, TABLES, WEIGHTS,
};
use fewbytes::linear::{LnqDescent, LnqJob, LnqOptions, LnqProduct, Panel};
use fewbytes_wgpu::Arg;

/// Labels of one cycle on the device, from the clusters.
fn cycle(ctx: &Context, job: &LnqJob<'_>, width: usize) -> Vec<u8> {
    let layout = job.layout(job.weights().rows());
    let start = job.start();
    let table = start.table(job.options().bits).unwrap();
    let weights = job.weights().values();
    let off =
        start.codes.iter().zip(weights).enumerate().map(|(at, (&code, w))| {
            table[at / layout.cols * layout.levels() + usize::from(code)] - w
        });
    let off = layout.padded(&off.collect::<Vec<_>>());
    let pieces = layout.pieces(ctx.caps()).unwrap();
    let hessian =
        pieces.iter().map(|piece| ctx.upload(&job.hessian_rows(0, piece.rows())).unwrap());
    let hessian: Vec<_> = hessian.collect();
    let labels = ctx.upload(&layout.pack_labels(&start.codes).unwrap()).unwrap();
    let others = [
        (OFF, ctx.upload(&off).unwrap()),
        (PULL, ctx.alloc::<f32>(off.len()).unwrap()),
        (LABELS, labels.clone()),
        (TABLES, ctx.upload(table).unwrap()),
        (WEIGHTS, ctx.upload(&layout.padded(weights)).unwrap()),
        (INVERSE, ctx.upload(&job.inverse(0)).unwrap()),
        (CHANGES, ctx.alloc::<f32>(off.len()).unwrap()),
    ];
    let mut args: Vec<_> = others
        .iter()
        .map(|(binding, view)| Arg { binding: *binding, pieces: std::slice::from_ref(view) })
        .collect();
    args.push(Arg { binding: HESSIAN, pieces: &hessian });
    let changes = others.iter().find(|(binding, _)| *binding == CHANGES).unwrap();
    let mut of_changes = args.clone();
    for arg in of_changes.iter_mut().filter(|arg| arg.binding == OFF) {
        arg.pieces = std::slice::from_ref(&changes.1);
    }
    ctx.submit(|pass| {
        for panel in Panel::all(&pieces, width) {
            ctx.plan(&LnqProduct { layout, panel, changed: None })?.record(pass, &args)?;
        }
        for changed in Panel::all(&pieces, width) {
            ctx.plan(&LnqDescent { layout, panel: changed })?.record(pass, &args)?;
            for panel in Panel::all(&pieces, usize::MAX) {
                let product = LnqProduct { layout, panel, changed: Some(changed) };
                ctx.plan(&product)?.record(pass, &of_changes)?;
            }
        }
        Ok(())
    })
    .unwrap();
    layout.unpack_labels(&ctx.block_on(ctx.read::<u32>(&labels)).unwrap()).unwrap()
}

/// Follows the device's labels input by input in f64. Wherever f64 would choose another, the two
/// entries have to be equally near to within what f32 sums can lose. Gives how often that was.
fn near_ties(layer: &Layer, job: &LnqJob<'_>, labels: &[u8]) -> usize {
    let (n, levels) = (layer.cols, 1 << job.options().bits);
    let start = job.start();
    let table = start.table(job.options().bits).unwrap();
    // What is solved with has 2^-23 of the trace more on the diagonal of active inputs, in f32.
    let raw = |i: usize, j: usize| f64::from(layer.hessian.get(0, i, j).unwrap());
    let ridge = (0..n).map(|i| raw(i, i)).sum::<f64>() / 8_388_608.0;
    let h = |i: usize, j: usize| {
        if i == j { f64::from((raw(i, i) + ridge) as f32) } else { raw(i, j) }
    };
    let mut ties = 0;
    for row in 0..layer.rows {
        let table = &table[row * levels..(row + 1) * levels];
        let entry = |label: u8| f64::from(table[usize::from(label)]);
        let w = &layer.values[row * n..(row + 1) * n];
        let codes = &start.codes[row * n..(row + 1) * n];
        let mut off: Vec<f64> =
            codes.iter().zip(w).map(|(&code, &w)| entry(code) - f64::from(w)).collect();
        for (i, &before) in codes.iter().enumerate() {
            let found = labels[row * n + i];
            let (mut pull, mut condition) = (0.0, 0.0);
            for (j, off) in off.iter().enumerate() {
                pull += off * h(i, j);
                condition += (off * h(i, j)).abs();
            }
            let aim = entry(before) - pull / h(i, i);
            let distance = |label: u8| (entry(label) - aim).abs();
            let nearest = (0..levels as u8).map(distance).fold(distance(before), f64::min);
            let excess = distance(found) - nearest;
            if excess > 0.0 {
                // The product, the changes before it in the panel, and four operations after.
                let lost = (2 * n + 8) as f64 * condition / h(i, i) + 4.0 * aim.abs();
                let bound = 2.0 * f64::from(f32::EPSILON) * lost;
                assert!(excess <= bound, "row {row}, input {i}: {excess:e} above {bound:e}");
                ties += 1;
            } else if found != before {
                assert!(
                    distance(found) < distance(before),
                    "row {row}, input {i} moved for nothing"
                );
            }
            off[i] = entry(found) - f64::from(w[i]);
        }
    }
    ties
}

#[test]
fn every_label_of_a_cycle_is_the_nearest_but_for_near_ties() {
    for (seed, shape, bits, width) in [
        (1, (5, 1), 1, 512),
        (2, (7, 31), 2, 512),
        (3, (33, 64), 3, 512),
        (4, (9, 65), 4, 64),
        (5, (40, 200), 3, 128),
        (6, (17, 300), 4, 512),
    ] {
        let layer = layer(seed, shape, 2 * shape.1 + 8, 1, |_| true);
        let options = LnqOptions { bits, ..LnqOptions::default() };
        let weights = layer.weights();
        let job = LnqJob::new(&weights, &layer.hessian, &options).unwrap();
        for ctx in contexts() {
            let labels = cycle(&ctx, &job, width);
            let changed = labels.iter().zip(&job.start().codes).filter(|(a, b)| a != b).count();
            let ties = near_ties(&layer, &job, &labels);
            println!("{} {shape:?}: {changed} labels changed, {ties} near ties", ctx.describe());
            assert!(changed > 0 || shape.1 == 1);
            assert!(ties * 1000 <= labels.len(), "{ties} near ties");
        }
    }
}
