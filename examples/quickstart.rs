//! Quantize once, upload once, multiply at any width.
use fewbytes::linear::{QuantizeOptions, Weights, quantize};
use fewbytes_wgpu::{Context, OpenOptions, ops};

fn main() -> fewbytes::Result<()> {
    let (rows, cols) = (512, 256);
    let w: Vec<f32> = (0..rows * cols).map(|i| (i as f32 * 0.37).sin()).collect();
    let weights = Weights::new("example", rows, cols, &w, None)?;
    let layer = quantize(&weights, &QuantizeOptions::default())?.pack(None)?;

    let ctx = pollster::block_on(Context::open(&OpenOptions::from_env()))?;
    let weights = ops::BitplaneWeights::upload(&ctx, &layer, 8)?;
    let gemv = ops::gemv_bitplane::plan(&ctx, &weights, Default::default())?;
    let x = ctx.upload(&vec![1.0f32; cols])?;
    let y = ctx.alloc::<f32>(rows)?;
    for bits in 3..=8 {
        ctx.submit(|pass| gemv.record(pass, bits, &weights, &x, &y))?;
        let y = ctx.block_on(ctx.read::<f32>(&y))?;
        let exact: f32 = w[..cols].iter().sum();
        println!("{bits} bits: y[0] = {:.4} (dense: {exact:.4})", y[0]);
    }
    Ok(())
}
