//! KVzip's scores made on a device, to stay there: what a selection on the device reads.
//!
//! An engine whose caches are on a device makes three calls: the [driver](fewbytes::attention::kvzip) scans
//! the context, a selection finds the pairs that stay, and the caches are compacted. Between them the host
//! reads how many pairs of every head stay, and nothing else.
//!
//! ```no_run
//! use fewbytes::attention::Kvzip;
//! use fewbytes::attention::kvzip::Engine;
//! use fewbytes_wgpu::ops::select_pairs::{Around, Selection};
//! use fewbytes_wgpu::ops::{DeviceCache, DeviceLayer, DeviceScorer};
//! use fewbytes_wgpu::{Context, Error};
//!
//! fn zip<E>(ctx: &Context, engine: &mut E, driver: &Kvzip, text: &[u32]) -> Result<(), E::Error>
//! where
//!     E: for<'a> Engine<Layer<'a> = DeviceLayer<'a>> + AsMut<Vec<DeviceCache>>,
//! {
//!     let around = Around { prefix: 20, reserve: 512 };
//!     // What does not fit the device is known before a pass has run.
//!     let mut scorer = DeviceScorer::new(ctx);
//!     let scores = scorer.scores_of(&engine.sizes(), text.len() as u32)?;
//!     let (spec, budgets) = scores.evicting(&driver.eviction)?;
//!     let selection = Selection::new(ctx, &spec)?;
//!
//!     driver.scan(engine, &mut scorer, around.prefix, text)?;
//!     let report = ctx.block_on(selection.select(ctx, scorer.scores()?, &budgets))?;
//!     selection.compact_all(ctx, &report, engine.as_mut(), around)?;
//!     Ok(())
//! }
//! ```

mod layer;
mod reused;
mod scored;

pub use layer::DeviceLayer;

use self::reused::{Grown, Plans};
use self::scored::Scored;
use super::{DeviceRowMap, max_attention, score_lse};
use crate::{Context, View};
use fewbytes::attention::kvzip::{ModelSizes, RepeatPass, Scorer};
use fewbytes::attention::{
    Denominator, KeySpans, MaxAttention, RowMap, ScoreLse, ScorePlace, Scores, SelectPairs,
};
use fewbytes::{Caps, Error, Knobs, Result};

/// Layers begin at multiples of so many scores: of 256 bytes, where every device can bind from.
const LAYER_ALIGNMENT: usize = 64;

/// Scores of the layers that an engine visits, `[layers, heads, n]` of f32, made and kept on a device by
/// [`max_attention`].
///
/// [`Kvzip::scan`](fewbytes::attention::Kvzip::scan) leaves them in [`DeviceScorer::scores`];
/// [`DeviceScorer::read`] brings them back, and so does
/// [`Kvzip::score`](fewbytes::attention::Kvzip::score). Every visit is a submission of its own, behind
/// whatever the engine has submitted before it: 8 10^10 operations where a chunk of 2000 is repeated by 32
/// query heads of 128 numbers; smaller chunks are for devices that a system would reset meanwhile. Plans, scratch memory and the scores' own are used again
/// by the passes that follow, also of another context. Memory beside the scores is what `max_attention` has
/// of scratch for the largest pass, and of [`Denominator::Full`] the logarithms of a pass, 4 bytes a query.
///
/// A chunk that is scored twice has the scores of the second time.
pub struct DeviceScorer<'c> {
    ctx: &'c Context,
    knobs: Knobs,
    piece_bytes: u64,
    begun: Option<Begun>,
    plans: Plans<max_attention::Plan>,
    sums: Plans<score_lse::Plan>,
    scratch: Grown<u8>,
    lse: Grown<f32>,
    map: Grown<u32>,
}

/// What a context's scores are.
struct Begun {
    sizes: ModelSizes,
    denominator: Denominator,
    spec: SelectPairs,
    pieces: Vec<View>,
    /// What has been scored.
    scored: Scored,
}

impl<'c> DeviceScorer<'c> {
    /// A scorer that has no memory yet; default knobs.
    pub fn new(ctx: &'c Context) -> Self {
        Self::with(ctx, Knobs::DEFAULT)
    }

    /// The same with other knobs of [`max_attention`].
    pub fn with(ctx: &'c Context, knobs: Knobs) -> Self {
        Self {
            ctx,
            knobs,
            piece_bytes: ctx.caps().bindable_bytes(),
            begun: None,
            plans: Plans::default(),
            sums: Plans::default(),
            scratch: Grown::default(),
            lse: Grown::default(),
            map: Grown::default(),
        }
    }

    /// The same with pieces of the scores of so many bytes at most, of one layer at least: a binding of the
    /// device bounds them in any case.
    #[must_use]
    pub fn in_pieces_of(self, bytes: u64) -> Self {
        Self { piece_bytes: bytes.min(self.ctx.caps().bindable_bytes()), ..self }
    }

    /// How scores of a model's context of `n` positions lie on the device, and what to select from them:
    /// a layer behind the other, each from a multiple of 64 scores on, as many to a buffer as one binding
    /// holds. Known before there are scores.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] where the scores of one layer do not fit a binding of the device.
    pub fn scores_of(&self, sizes: &ModelSizes, n: u32) -> Result<SelectPairs> {
        let (heads, limit) = (sizes.shape.kv_heads(), self.ctx.caps().bindable_bytes());
        let bytes = 4 * heads as u64 * u64::from(n);
        if bytes > limit {
            let what = format!("scores of a layer of {heads} heads and {n} positions");
            return Err(Error::BindingTooLarge { what, bytes, limit });
        }
        // Less than a binding.
        let spec = SelectPairs::new(sizes.layers, heads, n as usize);
        let stride = spec.stride.next_multiple_of(LAYER_ALIGNMENT);
        let caps = Caps { max_binding_bytes: self.piece_bytes, ..self.ctx.caps().clone() };
        Ok(SelectPairs { stride, ..spec }.in_pieces(&caps))
    }

    /// The scores, a view a piece, as [`DeviceScorer::spec`] says they lie: what
    /// [`Selection`](super::select_pairs::Selection) selects from. Bytes between layers mean nothing.
    ///
    /// # Errors
    /// As [`DeviceScorer::spec`].
    pub fn scores(&self) -> Result<&[View]> {
        Ok(&self.whole()?.pieces)
    }

    /// Sizes and places of the scores: [`DeviceScorer::scores_of`] of the context that was scored last.
    ///
    /// # Errors
    /// [`Error::Unsupported`] before anything was begun; [`Error::Shape`] where passes are missing, as
    /// after one that failed.
    pub fn spec(&self) -> Result<&SelectPairs> {
        Ok(&self.whole()?.spec)
    }

    /// Brings the scores back. Await it anywhere in a browser, or with [`Context::block_on`] elsewhere.
    ///
    /// # Errors
    /// As [`DeviceScorer::spec`] and [`Context::read`].
    pub async fn read(&self) -> Result<Scores> {
        let Begun { spec, pieces, .. } = self.whole()?;
        let mut values = Vec::with_capacity(spec.pairs());
        for piece in pieces {
            let all = self.ctx.read::<f32>(piece).await?;
            let layers = all.chunks(spec.stride.max(1));
            values.extend(layers.flat_map(|layer| layer.iter().take(spec.heads * spec.n)));
        }
        // As it came from u32.
        Scores::new(spec.layers, spec.heads, spec.n as u32, values)
    }

    /// Bytes on the device: scores, and what passes share.
    pub fn bytes(&self) -> u64 {
        let scores = self.begun.iter().flat_map(|begun| &begun.pieces);
        let shared = self.scratch.bytes() + self.lse.bytes() + self.map.bytes();
        scores.map(View::bytes).sum::<u64>() + shared
    }

    fn whole(&self) -> Result<&Begun> {
        let begun = self.begun.as_ref().ok_or_else(not_begun)?;
        let expected = begun.spec.layers as u64 * begun.spec.n as u64;
        let scored = begun.scored.positions();
        if scored < expected {
            let what = "scored positions of all layers";
            return Err(Error::shape(what, expected, scored));
        }
        Ok(begun)
    }

    fn visit(&mut self, pass: &RepeatPass, layer: usize, data: DeviceLayer<'_>) -> Result<()> {
        let Self { ctx, knobs, begun, plans, sums, scratch, lse, map, .. } = self;
        let begun = begun.as_mut().ok_or_else(not_begun)?;
        let queries = data.queries(&begun.sizes, pass)?;
        let (layout, n) = (data.layout, begun.spec.n);
        let rows = RowMap::new(layout, &[])?;
        let words = map.of(ctx, rows.words().len())?;
        let rows = DeviceRowMap::write(ctx, rows, words)?;
        // Of one layer's scores, so that layers share plans.
        let heads = begun.spec.heads;
        let place = ScorePlace { position: pass.start as usize, ..ScorePlace::of_layer(heads, n) };
        let chunk = pass.chunk.end.saturating_sub(pass.chunk.start);
        let spans = KeySpans { sink: pass.sink, first: pass.chunk.start, rows: chunk };
        let what = (spans, begun.denominator);
        let spec = MaxAttention::new(queries, layout, rows.map(), what, place)?;

        // The attention of the pass has the sums; an engine that does not give them has them made again,
        // over all rows before the new ones.
        let made = match (spec.takes_lse(), data.lse) {
            (true, None) => {
                let all = KeySpans { sink: 0, first: 0, rows: pass.position };
                let spec = ScoreLse::new(queries, layout, rows.map(), all)?;
                let lse = lse.of(ctx, queries.lse_len(heads))?;
                let bound = sums.with(
                    |plan| *plan.spec() == spec,
                    || score_lse::plan(ctx, &spec, knobs),
                    |plan| plan.bind(data.q, &data.rows, &rows, &lse),
                )?;
                Some((bound, lse))
            }
            _ => None,
        };
        let sums = match (&made, spec.takes_lse()) {
            (Some((_, lse)), _) => Some(lse),
            (None, true) => data.lse,
            (None, false) => None,
        };
        let score = begun.layer(layer)?;
        let best = plans.with(
            |plan| *plan.spec() == spec,
            || max_attention::plan(ctx, &spec, knobs),
            |plan| {
                let bytes = usize::try_from(plan.scratch_bytes()).unwrap_or(usize::MAX);
                let scratch = scratch.of(ctx, bytes)?;
                plan.bind(data.q, &data.rows, &rows, sums, &score, Some(&scratch))
            },
        )?;
        let all = || made.iter().map(|(sums, _)| sums).chain([&best]);
        if all().any(|bound| !bound.is_empty()) {
            ctx.submit(|pass| all().try_for_each(|bound| bound.record(pass, &rows, layout)))?;
        }
        begun.scored.add(layer, pass.start, chunk);
        Ok(())
    }
}

impl Begun {
    /// The scores of one layer, `[heads, n]`.
    fn layer(&self, layer: usize) -> Result<View> {
        let SelectPairs { layers, heads, n, stride, piece_layers, .. } = self.spec;
        let missing = || Error::range("layer of scores", format!("0..{layers}"), layer);
        if layer >= layers {
            return Err(missing());
        }
        let piece = self.pieces.get(layer / piece_layers).ok_or_else(missing)?;
        let first = layer % piece_layers * stride;
        piece.slice(first..first + heads * n)
    }
}

impl Scorer<DeviceLayer<'_>> for DeviceScorer<'_> {
    /// # Errors
    /// As [`DeviceScorer::scores_of`] and [`Context::alloc`].
    fn begin(&mut self, sizes: &ModelSizes, n: u32, denominator: Denominator) -> Result<()> {
        let spec = self.scores_of(sizes, n)?;
        let pieces = match self.begun.take() {
            Some(before) if before.spec == spec => before.pieces,
            _ => {
                let piece = |layers: std::ops::Range<usize>| {
                    self.ctx.alloc::<f32>(spec.piece_len(layers.len()))
                };
                spec.pieces().map(piece).collect::<Result<_>>()?
            }
        };
        self.plans.forget();
        self.sums.forget();
        self.begun =
            Some(Begun { sizes: *sizes, denominator, spec, pieces, scored: Scored::default() });
        Ok(())
    }

    /// Submits the launches.
    ///
    /// # Errors
    /// [`Error::Layer`] naming the layer: [`Error::Shape`] for another cache than the model's, other rows
    /// than those of context and pass, and queries or logarithms of another type or length;
    /// [`Error::BindingTooLarge`] naming the tensor; as [`max_attention::plan`] and [`Context::submit`].
    fn score(&mut self, pass: &RepeatPass, layer: usize, data: DeviceLayer<'_>) -> Result<()> {
        self.visit(pass, layer, data).map_err(|error| error.in_layer(&layer.to_string()))
    }

    /// Waits for the device and reads the scores, which stay there besides.
    ///
    /// # Errors
    /// As [`DeviceScorer::read`]; [`Error::Unsupported`] in a browser, where nothing can wait.
    fn finish(&mut self) -> Result<Scores> {
        #[cfg(target_arch = "wasm32")]
        return Err(Error::unsupported(
            "waiting for scores",
            "a browser awaits DeviceScorer::read",
        ));
        #[cfg(not(target_arch = "wasm32"))]
        self.ctx.block_on(self.read())
    }
}

fn not_begun() -> Error {
    Error::unsupported("scores on a device", "the scorer was not begun")
}
