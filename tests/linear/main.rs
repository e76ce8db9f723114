//! Any-precision weights from a dense matrix to a product, on a real device.

mod batch;
mod dequantize;
#[path = "../fixtures/device.rs"]
mod device;
mod fuse;
#[path = "../fixtures/matrix.rs"]
mod matrix;
mod plans;
mod prefix;
mod slices;
mod table_layer;
mod vectors;

use fewbytes::linear::gemv_bitplane::reference;
use fewbytes::linear::{BitplaneLayer, Method, QuantizeOptions, Tables, Weights, quantize};
use fewbytes_wgpu::ops::{BitplaneWeights, gemv_bitplane};
use fewbytes_wgpu::{Context, View};

/// A quantized 3-to-8-bit layer with sensitivities and a bias.
fn quantized(seed: u64, rows: usize, cols: usize) -> BitplaneLayer {
    let (values, sensitivities) = matrix::heavy_tailed(seed, rows * cols);
    let weights = Weights::new("layer", rows, cols, &values, Some(&sensitivities)).unwrap();
    let options = QuantizeOptions { method: Method::Fast, ..QuantizeOptions::default() };
    let (bias, _) = matrix::heavy_tailed(seed + 1, rows);
    quantize(&weights, &options).unwrap().pack(Some(bias)).unwrap()
}

/// The same layer with tables for some of its widths alone: a plan compiles every width there is.
fn with_widths(layer: &BitplaneLayer, widths: &[u8]) -> BitplaneLayer {
    let mut tables = Tables::new(layer.table_element(), layer.rows());
    for &bits in widths {
        tables.insert_bytes(bits, layer.tables().bytes(bits).unwrap()).unwrap();
    }
    let (planes, bias) = (layer.planes().to_vec(), layer.bias().map(<[f32]>::to_vec));
    BitplaneLayer::from_planes(layer.shape(), planes, tables, bias).unwrap()
}

fn activations(seed: u64, cols: usize) -> Vec<f32> {
    let (values, _) = matrix::heavy_tailed(seed, cols);
    values.into_iter().map(|v| 50.0 * v).collect()
}

/// Runs a product into fresh memory that is NaN beforehand.
fn product(
    ctx: &Context,
    plan: &gemv_bitplane::Plan,
    bits: u8,
    weights: &BitplaneWeights,
    x: &View,
) -> Vec<f32> {
    let y = ctx.upload(&vec![f32::NAN; weights.layout().rows()]).unwrap();
    ctx.submit(|pass| plan.record(pass, bits, weights, x, &y)).unwrap();
    ctx.block_on(ctx.read::<f32>(&y)).unwrap()
}

/// The bits of floats, so that equality means the same number and not an equal one.
fn bit_patterns(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Asserts that `y` is `W_bits x + bias` within what f32 sums in any order of the kernel's depth
/// can lose: each product passes through its own rounding, the sums within four, of eight fours,
/// over a lane's words, over the workgroup of 64 in an order that subgroups leave open, and the bias;
/// WGSL does not say that roundings are to nearest.
#[track_caller]
fn assert_product(layer: &BitplaneLayer, bits: u8, x: &[f32], y: &[f32]) {
    let expected = reference(layer, bits, x, true).unwrap();
    let depth = (1 + 4 + 8 + layer.cols().div_ceil(32).div_ceil(64) + 64 + 1) as f64;
    let unit = f64::from(f32::EPSILON);
    let gamma = depth * unit / (1.0 - depth * unit);
    assert_eq!(y.len(), expected.y.len());
    for (row, (&found, (y, condition))) in
        y.iter().zip(expected.y.iter().zip(&expected.condition)).enumerate()
    {
        let off = (f64::from(found) - y).abs();
        // A NaN fails this, too.
        assert!(off <= gamma * condition, "row {row} at {bits} bits: {found}, expected {y}");
    }
}
