//! Quantize once, upload once, multiply at any width.
use fewbytes::linear::{QuantizeOptions, Weights, gemv_bitplane, quantize};
use fewbytes_wgpu::{Context, OpenOptions, ops};

fn main() -> fewbytes::Result<()> {
    let (rows, cols) = (512, 256);
    let w: Vec<f32> = (0..rows * cols).map(|i| (i as f32 * 0.37).sin().powi(3)).collect();
    let x: Vec<f32> = (0..cols).map(|i| (i as f32 * 0.11).cos()).collect();
    let weights = Weights::new("example", rows, cols, &w, None)?;
    let layer = quantize(&weights, &QuantizeOptions::default())?.pack(None)?;

    let ctx = pollster::block_on(Context::open(&OpenOptions::from_env()))?;
    let weights = ops::BitplaneWeights::upload(&ctx, &layer, 8)?;
    let gemv = ops::gemv_bitplane::plan(&ctx, &weights, Default::default())?;
    let (gpu_x, gpu_y) = (ctx.upload(&x)?, ctx.alloc::<f32>(rows)?);
    let product = gemv.bind(&weights, &gpu_x, &gpu_y)?;
    for bits in 3..=8 {
        ctx.submit(|pass| product.record(pass, bits))?;
        let y = ctx.block_on(ctx.read::<f32>(&gpu_y))?;
        let dense: f32 = w.iter().zip(&x).map(|(w, x)| w * x).sum();
        let reference = gemv_bitplane::reference(&layer, bits, &x, false)?.y[0];
        println!("{bits} bits: y[0] = {:.5}, reference {reference:.5}, dense {dense:.5}", y[0]);
    }
    Ok(())
}
