//! A small transformer of random weights, no norms and no feed-forward, whose caches are in both memories:
//! what it appends on the device is bit by bit what it appends in host memory.

use fewbytes::attention::kvzip::{Engine, HostLayer, ModelSizes, RepeatPass};
use fewbytes::attention::reference::{Logits, Queries, decode_attention};
use fewbytes::attention::{CacheShape, DecodeQueries, KvCache, KvElement, Layout, RowMap};
use fewbytes::linear::Activation;
use fewbytes::{Error, Knobs, Result};
use fewbytes_wgpu::ops::prefill::{self, KeyRows};
use fewbytes_wgpu::ops::{DeviceCache, DeviceLayer, DeviceRowMap, append_kv};
use fewbytes_wgpu::{Context, View};
use half::f16;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const LAYERS: usize = 3;
pub(crate) const HEADS: usize = 2;
pub(crate) const GROUP: usize = 3;
pub(crate) const DIM: usize = 64;
const WIDTH: usize = 24;
const VOCABULARY: usize = 50;
/// Rows that every head has room for.
const ROOM: u32 = 256;

struct Weights {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    o: Vec<f32>,
}

pub(crate) struct Toy<'c> {
    ctx: &'c Context,
    embedding: Vec<f32>,
    weights: Vec<Weights>,
    pub(crate) host: Vec<KvCache>,
    pub(crate) device: Vec<DeviceCache>,
    pub(crate) positions: u32,
    /// What queries are stored as.
    input: Activation,
    /// Whether the logarithms of attention's sums are handed over.
    gives_lse: bool,
    /// Passes that were run.
    pub(crate) passes: usize,
    /// Layers that a pass visits.
    pub(crate) visited: usize,
}

/// One layer of a pass, in both memories.
pub(crate) struct Visit<'a> {
    pub(crate) host: HostLayer<'a>,
    pub(crate) device: DeviceLayer<'a>,
}

type Visitor<'v> = dyn FnMut(usize, Visit<'_>) -> Result<()> + 'v;

/// `[rows, columns]` times a vector.
fn product(matrix: &[f32], x: &[f32]) -> Vec<f32> {
    matrix.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
}

pub(crate) fn logits() -> Logits {
    Logits { scale: 0.25, softcap: Some(20.0) }
}

impl<'c> Toy<'c> {
    pub(crate) fn new(
        ctx: &'c Context,
        element: KvElement,
        input: Activation,
        gives_lse: bool,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut matrix = |rows: usize, columns: usize, size: f32| -> Vec<f32> {
            (0..rows * columns).map(|_| rng.random_range(-size..size)).collect()
        };
        let embedding = matrix(VOCABULARY, WIDTH, 1.0);
        let weights = (0..LAYERS)
            .map(|_| Weights {
                q: matrix(HEADS * GROUP * DIM, WIDTH, 0.5),
                k: matrix(HEADS * DIM, WIDTH, 0.5),
                v: matrix(HEADS * DIM, WIDTH, 0.7),
                o: matrix(WIDTH, HEADS * GROUP * DIM, 0.1),
            })
            .collect();
        let shape = CacheShape::new(HEADS, DIM, element).unwrap();
        // A layout of each kind.
        let layouts = [
            Layout::plain(shape, ROOM).unwrap(),
            Layout::paged(shape, &[0; HEADS], 16, HEADS as u32 * ROOM / 16, 0).unwrap(),
            Layout::ragged(shape, &[0; HEADS], ROOM, 0).unwrap(),
        ];
        let host =
            |layout: &Layout| KvCache::new(layout.clone()).unwrap().with_positions().unwrap();
        let host: Vec<KvCache> = layouts.iter().map(host).collect();
        let device = host.iter().map(|cache| DeviceCache::upload(ctx, cache).unwrap()).collect();
        let (positions, passes, visited) = (ROOM, 0, LAYERS);
        Self { ctx, embedding, weights, host, device, positions, input, gives_lse, passes, visited }
    }

    pub(crate) fn sizes(&self) -> ModelSizes {
        let (shape, positions) = (*self.host[0].shape(), self.positions);
        ModelSizes { layers: LAYERS, shape, group: GROUP, positions, logits: logits() }
    }

    /// Numbers as queries are stored, in both memories.
    fn queries(&self, q: Vec<f32>) -> (Vec<f32>, View) {
        match self.input {
            Activation::F32 => {
                let view = self.ctx.upload(&q).unwrap();
                (q, view)
            }
            Activation::F16 => {
                let halves: Vec<f16> = q.into_iter().map(f16::from_f32).collect();
                let q = halves.iter().map(|half| half.to_f32()).collect();
                (q, self.ctx.upload(&halves).unwrap())
            }
        }
    }

    /// Reads tokens behind those read before, their rows appended. A token's place changes its numbers by
    /// a shift of the embedding: the same tokens are not the same pairs.
    pub(crate) fn read(&mut self, tokens: &[u32], visit: &mut Visitor<'_>) -> Result<()> {
        let first = self.host[0].layout().next_position();
        let embedded = |(position, token): (u32, &u32)| {
            let at = *token as usize % VOCABULARY * WIDTH;
            let mut state = self.embedding[at..at + WIDTH].to_vec();
            state.iter_mut().zip(1..).for_each(|(x, rate)| {
                *x += 0.5 * (position as f32 / rate as f32).sin();
            });
            state
        };
        let mut states: Vec<f32> = (first..).zip(tokens).flat_map(embedded).collect();
        for at in 0..LAYERS {
            let weights = &self.weights[at];
            let of = |matrix: &[f32]| -> Vec<f32> {
                states.chunks_exact(WIDTH).flat_map(|state| product(matrix, state)).collect()
            };
            let (q, k, v) = (of(&weights.q), of(&weights.k), of(&weights.v));
            let (q, view) = self.queries(q);
            self.host[at].append(&k, &v)?;
            append(self.ctx, &mut self.device[at], &k, &v);
            let (host, device) = (&self.host[at], &self.device[at]);
            let (q_len, query_heads, logits) = (tokens.len(), HEADS * GROUP, logits());
            let asked = Queries { q: &q, q_len, query_heads, logits, window: None };
            let attended = decode_attention(&asked, host)?;
            if at < self.visited {
                let lse =
                    self.gives_lse.then(|| attend(self.ctx, device, &view, self.input, q_len).1);
                let device = DeviceLayer { lse: lse.as_ref(), ..DeviceLayer::new(&view, device) };
                // The reference works sums out from the definition.
                visit(at, Visit { host: HostLayer { q: &q, cache: host, lse: None }, device })?;
            }
            let o: Vec<f32> = attended.o.into_iter().map(|o| o as f32).collect();
            let added = o.chunks_exact(HEADS * GROUP * DIM).flat_map(|o| product(&weights.o, o));
            states.iter_mut().zip(added).for_each(|(state, added)| *state += added);
        }
        Ok(())
    }

    fn repeat(&mut self, pass: &RepeatPass, visit: &mut Visitor<'_>) -> Result<()> {
        self.passes += 1;
        let read = self.read(&pass.tokens, visit);
        for (host, device) in self.host.iter_mut().zip(&mut self.device) {
            host.truncate(pass.position)?;
            device.truncate(self.ctx, pass.position)?;
        }
        read
    }
}

/// Appends keys and values of as many tokens as there are.
pub(crate) fn append(ctx: &Context, cache: &mut DeviceCache, keys: &[f32], values: &[f32]) {
    let tokens = (keys.len() / HEADS / DIM) as u32;
    let spec = cache.append_spec(tokens, Activation::F32, None);
    let plan = append_kv::plan(ctx, &spec, &Knobs::DEFAULT).unwrap();
    let (keys, values) = (ctx.upload(keys).unwrap(), ctx.upload(values).unwrap());
    let bound = plan.bind(cache, &keys, &values, None).unwrap();
    cache.append(ctx, tokens, 0).unwrap();
    ctx.submit(|pass| bound.record(pass)).unwrap();
}

/// Outputs and logarithms of the newest tokens on the device.
pub(crate) fn attend(
    ctx: &Context,
    cache: &DeviceCache,
    q: &View,
    input: Activation,
    q_len: usize,
) -> (View, View) {
    let map = DeviceRowMap::upload(ctx, RowMap::new(cache.layout(), &[]).unwrap()).unwrap();
    let Logits { scale, softcap } = logits();
    let queries = DecodeQueries {
        q_len,
        scale: scale as f32,
        softcap: softcap.map(|cap| cap as f32),
        input,
        lse: true,
        ..DecodeQueries::new(cache.layout().shape(), GROUP)
    };
    let plan = prefill::plan(ctx, queries, cache.layout(), map.map(), &Knobs::DEFAULT).unwrap();
    let rows = q_len * HEADS * GROUP;
    let (o, lse) = (ctx.alloc::<f32>(rows * DIM).unwrap(), ctx.alloc::<f32>(rows).unwrap());
    let bound = plan.bind(q, &KeyRows::of(cache), &map, &o, Some(&lse)).unwrap();
    ctx.submit(|pass| bound.record(pass, &map, cache.layout())).unwrap();
    (o, lse)
}

/// The model as an engine whose layers are on the device.
pub(crate) struct OnDevice<'t, 'c>(pub(crate) &'t mut Toy<'c>);

impl Engine for OnDevice<'_, '_> {
    type Layer<'a> = DeviceLayer<'a>;
    type Error = Error;

    fn sizes(&self) -> ModelSizes {
        self.0.sizes()
    }

    fn repeat_pass(
        &mut self,
        pass: &RepeatPass,
        mut visit: impl FnMut(usize, DeviceLayer<'_>) -> Result<()>,
    ) -> Result<()> {
        self.0.repeat(pass, &mut |layer, data| visit(layer, data.device))
    }
}

/// The same model in host memory.
pub(crate) struct InHost<'t, 'c>(pub(crate) &'t mut Toy<'c>);

impl Engine for InHost<'_, '_> {
    type Layer<'a> = HostLayer<'a>;
    type Error = Error;

    fn sizes(&self) -> ModelSizes {
        self.0.sizes()
    }

    fn repeat_pass(
        &mut self,
        pass: &RepeatPass,
        mut visit: impl FnMut(usize, HostLayer<'_>) -> Result<()>,
    ) -> Result<()> {
        self.0.repeat(pass, &mut |layer, data| visit(layer, data.host))
    }
}
