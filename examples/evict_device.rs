//! KVzip in an engine whose caches stay on the device: three calls, scan, select and compact. The host reads
//! how many pairs of every head stay, and no score.
//!
//! ```text
//! cargo run --example evict_device
//! ```
//!
//! The model here is a stand-in: a token's queries, keys and values are made from its number alone. A real
//! one has a forward pass in `repeat_pass`.

use anyhow::Result;
use fewbytes::attention::kvzip::{Engine, Kvzip, ModelSizes, RepeatPass, RepeatTemplate};
use fewbytes::attention::reference::Logits;
use fewbytes::attention::{CacheShape, KvElement, Layout};
use fewbytes::linear::Activation;
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::ops::select_pairs::{Around, Selection};
use fewbytes_wgpu::ops::{DeviceCache, DeviceLayer, DeviceScorer, append_kv};
use fewbytes_wgpu::{Context, OpenOptions};

const LAYERS: usize = 2;
const HEADS: usize = 2;
/// Query heads that share a KV head.
const GROUP: usize = 4;
const DIM: usize = 64;
/// Positions that the model has.
const POSITIONS: u32 = 2048;

/// The engine's own: a device, and a cache for each layer.
struct Model<'c> {
    ctx: &'c Context,
    shape: CacheShape,
    caches: Vec<DeviceCache>,
}

impl<'c> Model<'c> {
    fn new(ctx: &'c Context) -> fewbytes::Result<Self> {
        let shape = CacheShape::new(HEADS, DIM, KvElement::F16)?;
        let cache = || DeviceCache::new(ctx, Layout::plain(shape, POSITIONS)?, false);
        let caches = (0..LAYERS).map(|_| cache()).collect::<fewbytes::Result<_>>()?;
        Ok(Self { ctx, shape, caches })
    }

    /// `[tokens, heads, DIM]`: what stands for a projection.
    fn project(tokens: &[u32], heads: usize, layer: usize, which: f32) -> Vec<f32> {
        let number = |at: usize| {
            let (token, of) = (tokens[at / (heads * DIM)], at % DIM + 1);
            let kv_head = at / DIM % heads * HEADS / heads;
            let rate = token as usize * 31 + 7 * layer + 3 * kv_head;
            (which * (rate * of) as f32).sin()
        };
        (0..tokens.len() * heads * DIM).map(number).collect()
    }

    /// Appends the rows of new tokens to the caches, and shows every layer's queries to `visit`.
    fn forward(
        &mut self,
        tokens: &[u32],
        mut visit: impl FnMut(usize, DeviceLayer<'_>) -> fewbytes::Result<()>,
    ) -> fewbytes::Result<()> {
        let ctx = self.ctx;
        for (layer, cache) in self.caches.iter_mut().enumerate() {
            let keys = ctx.upload(&Self::project(tokens, HEADS, layer, 0.3))?;
            let values = ctx.upload(&Self::project(tokens, HEADS, layer, 0.7))?;
            let q = ctx.upload(&Self::project(tokens, HEADS * GROUP, layer, 0.3))?;
            let spec = cache.append_spec(tokens.len() as u32, Activation::F32, None);
            let step = append_kv::plan(ctx, &spec, &Knobs::DEFAULT)?;
            let bound = step.bind(cache, &keys, &values, None)?;
            cache.append(ctx, tokens.len() as u32, 0)?;
            ctx.submit(|pass| bound.record(pass))?;
            // A real model attends here; the logarithms that prefill gives can be handed over besides.
            visit(layer, DeviceLayer::new(&q, cache))?;
        }
        Ok(())
    }
}

impl Engine for Model<'_> {
    type Layer<'a> = DeviceLayer<'a>;
    type Error = Error;

    fn sizes(&self) -> ModelSizes {
        let logits = Logits::scaled(1.0 / (DIM as f64).sqrt());
        let (shape, positions) = (self.shape, POSITIONS);
        ModelSizes { layers: LAYERS, shape, group: GROUP, positions, logits }
    }

    fn repeat_pass(
        &mut self,
        pass: &RepeatPass,
        visit: impl FnMut(usize, DeviceLayer<'_>) -> fewbytes::Result<()>,
    ) -> fewbytes::Result<()> {
        let done = self.forward(&pass.tokens, visit);
        // The repetition leaves nothing behind, in error too.
        for cache in &mut self.caches {
            cache.truncate(self.ctx, pass.position)?;
        }
        done
    }
}

fn main() -> Result<()> {
    let ctx = pollster::block_on(Context::open(&OpenOptions::from_env()))?;
    println!("adapter: {}", ctx.describe());
    let mut model = Model::new(&ctx)?;
    let system: Vec<u32> = (0..12).collect();
    let context: Vec<u32> = (0..600).map(|at| at * at % 251).collect();
    model.forward(&[system.as_slice(), &context].concat(), |_, _| Ok(()))?;
    let before: u64 = model.caches.iter().map(DeviceCache::bytes).sum();

    // What tokenizers make of the instructions; a chunk of 2000 is usual.
    let template = RepeatTemplate { first: vec![240; 9], next: vec![241; 14], turn: vec![242] };
    let driver = Kvzip { chunk: 256, ..Kvzip::new(template, 0.3) };
    let around = Around { prefix: system.len() as u32, reserve: 256 };
    let mut scorer = DeviceScorer::new(&ctx);
    // Made first: what does not fit the device is known before a pass has run.
    let scores = scorer.scores_of(&model.sizes(), context.len() as u32)?;
    let (spec, budgets) = scores.evicting(&driver.eviction)?;
    let selection = Selection::new(&ctx, &spec)?;

    // One: the model repeats the context, chunk by chunk, and scores stay on the device.
    let phases = driver.scan(&mut model, &mut scorer, around.prefix, &context)?;
    // Two: the pairs that stay, of all layers and heads.
    let report = ctx.block_on(selection.select(&ctx, scorer.scores()?, &budgets))?;
    // Three: every cache's rows that stay, in buffers of their own; the old ones go.
    selection.compact_all(&ctx, &report, &mut model.caches, around)?;

    let after: u64 = model.caches.iter().map(DeviceCache::bytes).sum();
    println!("{} of {} pairs stay; a head keeps {:?}", report.pairs(), spec.pairs(), report.kept);
    println!("{before} bytes before, with room for {POSITIONS} rows; {after} after, for 256 more");
    println!("passes {:.1?}, scoring {:.1?} as the host sees it", phases.passes, phases.scoring);

    // What follows is appended as ever, at its true position.
    model.forward(&[1, 2, 3], |_, _| Ok(()))?;
    println!("the next token is at {}", model.caches[0].layout().next_position());
    Ok(())
}
