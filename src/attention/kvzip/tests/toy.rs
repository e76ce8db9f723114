//! A small transformer of random weights: no norms, no feed-forward, rotary positions.

use crate::Error;
use crate::attention::kvzip::{Engine, HostLayer, ModelSizes, RepeatPass};
use crate::attention::reference::{Attended, Logits, Queries, decode_attention};
use crate::attention::{CacheShape, KvCache, KvElement, Layout};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(super) const LAYERS: usize = 3;
pub(super) const HEADS: usize = 2;
pub(super) const GROUP: usize = 3;
pub(super) const DIM: usize = 64;
const WIDTH: usize = 24;
const VOCABULARY: usize = 50;

struct Layer {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    o: Vec<f32>,
}

pub(super) struct Toy {
    embedding: Vec<f32>,
    layers: Vec<Layer>,
    pub(super) caches: Vec<KvCache>,
    pub(super) positions: u32,
    /// Layers that are visited in a pass.
    pub(super) visited: usize,
}

/// `[rows, columns]` times a vector.
fn product(matrix: &[f32], x: &[f32]) -> Vec<f32> {
    matrix.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
}

/// Turns neighbours of every head by the angles of a position.
fn turn(row: &mut [f32], position: u32) {
    for head in row.chunks_exact_mut(DIM) {
        for pair in 0..DIM / 2 {
            let angle = f64::from(position) * 1e4f64.powf(-2.0 * pair as f64 / DIM as f64);
            let (sin, cos) = (angle.sin() as f32, angle.cos() as f32);
            let (a, b) = (head[2 * pair], head[2 * pair + 1]);
            (head[2 * pair], head[2 * pair + 1]) = (a * cos - b * sin, a * sin + b * cos);
        }
    }
}

impl Toy {
    pub(super) fn new(seed: u64, room: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut matrix = |rows: usize, columns: usize, size: f32| -> Vec<f32> {
            (0..rows * columns).map(|_| rng.random_range(-size..size)).collect()
        };
        let embedding = matrix(VOCABULARY, WIDTH, 1.0);
        let layers = (0..LAYERS)
            .map(|_| Layer {
                q: matrix(HEADS * GROUP * DIM, WIDTH, 0.7),
                k: matrix(HEADS * DIM, WIDTH, 0.7),
                v: matrix(HEADS * DIM, WIDTH, 0.7),
                o: matrix(WIDTH, HEADS * GROUP * DIM, 0.1),
            })
            .collect();
        let shape = CacheShape::new(HEADS, DIM, KvElement::F32).unwrap();
        let cache = || KvCache::new(Layout::plain(shape, room).unwrap()).unwrap();
        let caches = (0..LAYERS).map(|_| cache()).collect();
        Self { embedding, layers, caches, positions: room, visited: LAYERS }
    }

    /// Reads tokens behind those read before, their rows appended; gives what the last layer leaves of
    /// each, `[tokens, WIDTH]`.
    pub(super) fn read(
        &mut self,
        tokens: &[u32],
        visit: &mut dyn FnMut(usize, HostLayer<'_>) -> crate::Result<()>,
    ) -> crate::Result<Vec<f32>> {
        let embedded = |token: &u32| {
            let at = *token as usize % VOCABULARY * WIDTH;
            self.embedding[at..at + WIDTH].to_vec()
        };
        let mut states: Vec<f32> = tokens.iter().flat_map(embedded).collect();
        for (at, layer) in self.layers.iter().enumerate() {
            let cache = &mut self.caches[at];
            let first = cache.layout().next_position();
            let of = |matrix: &[f32], turned: bool| -> Vec<f32> {
                let rows = (first..).zip(states.chunks_exact(WIDTH)).map(|(position, state)| {
                    let mut row = product(matrix, state);
                    if turned {
                        turn(&mut row, position);
                    }
                    row
                });
                rows.flatten().collect()
            };
            let (q, k, v) = (of(&layer.q, true), of(&layer.k, true), of(&layer.v, false));
            cache.append(&k, &v)?;
            let logits = logits();
            let (q_len, query_heads) = (tokens.len(), HEADS * GROUP);
            let queries = Queries { q: &q, q_len, query_heads, logits, window: None };
            let Attended { o, lse } = decode_attention(&queries, cache)?;
            if at < self.visited {
                visit(at, HostLayer { q: &q, cache, lse: Some(&lse) })?;
            }
            let o: Vec<f32> = o.into_iter().map(|o| o as f32).collect();
            let added = o.chunks_exact(HEADS * GROUP * DIM).flat_map(|o| product(&layer.o, o));
            states.iter_mut().zip(added).for_each(|(state, added)| *state += added);
        }
        Ok(states)
    }

    /// Reads tokens that nobody looks at.
    pub(super) fn prefill(&mut self, tokens: &[u32]) -> Vec<f32> {
        self.read(tokens, &mut |_, _| Ok(())).unwrap()
    }
}

pub(super) fn logits() -> Logits {
    Logits { scale: 0.2, softcap: Some(20.0) }
}

impl Engine for Toy {
    type Layer<'a> = HostLayer<'a>;
    type Error = Error;

    fn sizes(&self) -> ModelSizes {
        let (shape, positions) = (*self.caches[0].shape(), self.positions);
        ModelSizes { layers: LAYERS, shape, group: GROUP, positions, logits: logits() }
    }

    fn repeat_pass(
        &mut self,
        pass: &RepeatPass,
        mut visit: impl FnMut(usize, HostLayer<'_>) -> crate::Result<()>,
    ) -> crate::Result<()> {
        let before: Vec<u32> = self.caches.iter().map(|cache| cache.layout().appended()).collect();
        assert!(self.caches.iter().all(|c| c.layout().next_position() == pass.position));
        let read = self.read(&pass.tokens, &mut visit);
        for (cache, before) in self.caches.iter_mut().zip(before) {
            cache.truncate(before)?;
        }
        read.map(|_| ())
    }
}
