//! The order in which everything is done.

use super::report::{Phases, Report, Watch};
use super::{Engine, ModelSizes, RepeatPass, RepeatTemplate, Scorer};
use crate::attention::evict::{Eviction, Scores, Selection, select};
use crate::attention::{Denominator, KeepLists, KvCache};
use crate::{Error, Result};
use std::time::Duration;

/// Tokens of a chunk, as published.
pub const CHUNK: u32 = 2000;
/// Tokens of the chunk before that a pass is reminded of, as published.
pub const OVERLAP: u32 = 8;

/// Which rows of the system prefix are in the denominator of scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SinkRows {
    /// All of them, as released.
    #[default]
    Prefix,
    /// So many at most: 4 in another published port.
    First(u32),
}

/// How a cache is scored and evicted.
#[derive(Debug, Clone, PartialEq)]
pub struct Kvzip {
    /// Tokens around chunks.
    pub template: RepeatTemplate,
    /// Tokens of a chunk; [`CHUNK`] is usual.
    pub chunk: u32,
    /// Tokens of the chunk before that a pass is reminded of; [`OVERLAP`] is usual.
    pub overlap: u32,
    /// What scores are divided by.
    pub denominator: Denominator,
    /// Rows of the system prefix in the denominator.
    pub sink: SinkRows,
    /// What stays.
    pub eviction: Eviction,
}

/// What came out: which rows of every layer's cache stay.
#[derive(Debug, Clone, PartialEq)]
pub struct Zipped {
    /// Pairs of the context that stay.
    pub selection: Selection,
    /// Rows of every scored layer's cache that stay, the system prefix among them.
    pub lists: Vec<KeepLists>,
    /// Counts, bytes and times.
    pub report: Report,
}

impl Kvzip {
    /// As published, with everything by the largest attention over all pairs.
    pub fn new(template: RepeatTemplate, ratio: f64) -> Self {
        Self {
            template,
            chunk: CHUNK,
            overlap: OVERLAP,
            denominator: Denominator::Subset,
            sink: SinkRows::Prefix,
            eviction: Eviction::new(ratio),
        }
    }

    /// The passes over a context of these tokens, behind a system prefix of `prefix` tokens: what
    /// [`Kvzip::score`] runs. None for an empty context.
    ///
    /// # Errors
    /// [`Error::Range`] for a ratio outside 0 to 1, chunks of no tokens, sizes that cannot be, and where
    /// prefix, context and the longest pass together are more than the model's positions.
    pub fn passes(
        &self,
        sizes: &ModelSizes,
        prefix: u32,
        context: &[u32],
    ) -> Result<Vec<RepeatPass>> {
        self.eviction.check()?;
        sizes.check()?;
        if self.chunk == 0 {
            return Err(Error::range("tokens of a chunk", "1..", 0));
        }
        let (chunk, overlap) = (self.chunk as usize, self.overlap as usize);
        let sink = match self.sink {
            SinkRows::Prefix => prefix,
            SinkRows::First(most) => most.min(prefix),
        };
        let position = u64::from(prefix) + context.len() as u64;
        let mut passes = Vec::new();
        for (number, tokens) in context.chunks(chunk).enumerate() {
            let start = number * chunk;
            let before = &context[start.saturating_sub(overlap.min(chunk))..start];
            let input = self.template.input(number == 0, before, tokens);
            let end = position + input.len() as u64;
            if end > sizes.positions.into() {
                let limit = format!("0..={}, the model's", sizes.positions);
                return Err(Error::range("positions of context and repetition", limit, end));
            }
            // All below the model's positions, which u32 counts.
            let [start, length, position] =
                [start as u64, tokens.len() as u64, position].map(|count| count as u32);
            let chunk = prefix + start..prefix + start + length;
            passes.push(RepeatPass { number, tokens: input, position, sink, chunk, start });
        }
        Ok(passes)
    }

    /// Runs all passes over a context, which is prefilled behind `prefix` tokens, and leaves the scores with
    /// the scorer: on a device that selects by itself they need not come back. An empty context has no
    /// passes; its scorer is begun all the same. Gives how long it took: passes and, apart from them, the
    /// scorer.
    ///
    /// # Errors
    /// As [`Kvzip::passes`], before anything runs; [`Error::Shape`] for an engine that visits other layers
    /// than it says; the engine's and the scorer's own.
    pub fn scan<E, S>(
        &self,
        engine: &mut E,
        scorer: &mut S,
        prefix: u32,
        context: &[u32],
    ) -> Result<Phases, E::Error>
    where
        E: Engine,
        S: for<'a> Scorer<E::Layer<'a>>,
    {
        let sizes = engine.sizes();
        let passes = self.passes(&sizes, prefix, context)?;
        let all = Watch::start();
        let mut scoring = Duration::ZERO;
        // Empty or below the model's positions.
        scorer.begin(&sizes, context.len() as u32, self.denominator)?;
        for pass in &passes {
            let mut next = 0;
            engine.repeat_pass(pass, |layer, data| {
                if layer != next {
                    return Err(Error::shape("layer of a pass", next, layer));
                }
                next += 1;
                let watch = Watch::start();
                scorer.score(pass, layer, data)?;
                scoring += watch.elapsed();
                Ok(())
            })?;
            if next != sizes.layers {
                return Err(Error::shape("layers of a pass", sizes.layers, next).into());
            }
        }
        let passes = all.elapsed().saturating_sub(scoring);
        Ok(Phases { passes, scoring, ..Phases::default() })
    }

    /// [`Kvzip::scan`], and the scores of all pairs.
    ///
    /// # Errors
    /// As [`Kvzip::scan`], and [`Error::Shape`] for a scorer that makes scores of other sizes.
    pub fn score<E, S>(
        &self,
        engine: &mut E,
        scorer: &mut S,
        prefix: u32,
        context: &[u32],
    ) -> Result<(Scores, Phases), E::Error>
    where
        E: Engine,
        S: for<'a> Scorer<E::Layer<'a>>,
    {
        let mut phases = self.scan(engine, scorer, prefix, context)?;
        let sizes = engine.sizes();
        // Fewer than the model's positions.
        let (heads, n) = (sizes.shape.kv_heads(), context.len() as u32);
        let watch = Watch::start();
        let scores = scorer.finish()?;
        phases.scoring += watch.elapsed();
        let found = (scores.layers(), scores.heads(), scores.n());
        if found != (sizes.layers, heads, n) {
            let expected = format!("{:?}", (sizes.layers, heads, n));
            return Err(Error::shape("scores of a context", expected, format!("{found:?}")).into());
        }
        Ok((scores, phases))
    }

    /// Which rows stay, by scores from wherever; `prefix` rows lie before the context and none after it.
    ///
    /// # Errors
    /// [`Error::Range`] for a ratio outside 0 to 1, and as [`Kvzip::apply`].
    pub fn evict(&self, sizes: &ModelSizes, scores: &Scores, prefix: u32) -> Result<Zipped> {
        let watch = Watch::start();
        let selection = select(scores, &self.eviction)?;
        let selecting = watch.elapsed();
        let mut zipped = self.apply(sizes, selection, prefix)?;
        zipped.report.phases.selecting = selecting;
        Ok(zipped)
    }

    /// Which rows stay, by a selection from wherever: a device perhaps.
    ///
    /// # Errors
    /// [`Error::Range`] for sizes that cannot be or more rows than a cache can have, [`Error::Shape`] for
    /// other layers or heads than the model's.
    pub fn apply(&self, sizes: &ModelSizes, selection: Selection, prefix: u32) -> Result<Zipped> {
        sizes.check()?;
        let (layers, heads) = (sizes.layers, sizes.shape.kv_heads());
        if (selection.layers(), selection.heads()) != (layers, heads) {
            let found = format!("{} x {}", selection.layers(), selection.heads());
            let expected = format!("{layers} x {heads}");
            return Err(Error::shape("layers and heads of scores", expected, found));
        }
        let rows = u64::from(prefix) + u64::from(selection.n());
        let rows = sizes.shape.checked_rows(rows)?;
        let lists: Result<Vec<KeepLists>> =
            (0..layers).map(|layer| selection.keep_lists(layer, prefix, rows)).collect();
        let report = Report::new(sizes, &self.eviction, &selection, prefix);
        Ok(Zipped { selection, lists: lists?, report })
    }

    /// [`Kvzip::score`] and [`Kvzip::evict`].
    ///
    /// # Errors
    /// Theirs.
    pub fn run<E, S>(
        &self,
        engine: &mut E,
        scorer: &mut S,
        prefix: u32,
        context: &[u32],
    ) -> Result<Zipped, E::Error>
    where
        E: Engine,
        S: for<'a> Scorer<E::Layer<'a>>,
    {
        let (scores, phases) = self.score(engine, scorer, prefix, context)?;
        let mut zipped = self.evict(&engine.sizes(), &scores, prefix)?;
        zipped.report.phases = Phases { selecting: zipped.report.phases.selecting, ..phases };
        Ok(zipped)
    }
}

impl Zipped {
    /// The caches of the scored layers with the rows that stay, and room for `reserve` more. The next token
    /// keeps its position. Rows may have been appended to the caches since: they stay.
    ///
    /// # Errors
    /// [`Error::Shape`] for other than one cache a layer, or of other heads; [`Error::Range`] for caches
    /// with fewer rows than prefix and context, and as [`KvCache::compact`]; [`Error::Layer`] names which.
    pub fn compact(&mut self, caches: &[KvCache], reserve: u32) -> Result<Vec<KvCache>> {
        if caches.len() != self.lists.len() {
            return Err(Error::shape("caches of scored layers", self.lists.len(), caches.len()));
        }
        let watch = Watch::start();
        let compact = |(layer, cache): (usize, &KvCache)| {
            let rows = cache.layout().len(0);
            let lists = self.selection.keep_lists(layer, self.report.prefix, rows);
            let zipped = lists.and_then(|lists| cache.compact(&lists, reserve));
            zipped.map_err(|error| error.in_layer(&layer.to_string()))
        };
        let zipped = caches.iter().enumerate().map(compact).collect();
        self.report.phases.compacting = watch.elapsed();
        zipped
    }
}
