//! Runs settings over a layer.

use crate::modes::Setting;
use crate::trace::{ASKED, DIM, GROUP, HEADS, Layer};
use anyhow::Result;
use fewbytes::attention::HeadData;
use fewbytes::attention::reference::Logits;
use fewbytes::attention::sparse::attend::{HeadSlices, SparseQueries, attend};
use fewbytes::attention::sparse::quality::{
    Choice, Exact, Recorded, RowQuality, Summary, compare, grid, traffic, tune,
};
use fewbytes::attention::sparse::sorted::{KeyIndex, SINKS, TAIL_ROWS};
use fewbytes::attention::sparse::{Lists, Mode, Selection, Share, Tail};
use indicatif::ProgressBar;
use serde::Serialize;

/// What a setting makes of a layer.
#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) setting: String,
    pub(crate) share: &'static str,
    /// Bytes read, of those of attention to all rows.
    pub(crate) traffic: f64,
    pub(crate) all: Summary,
    /// Of every query head.
    pub(crate) heads: Vec<Summary>,
}

/// One token of a layer.
struct Token<'a> {
    q: &'a [f32],
    data: Vec<HeadSlices<'a>>,
}

fn tokens(layer: &Layer, every: usize) -> impl Iterator<Item = Token<'_>> {
    let first = layer.rows() - ASKED;
    let queries = layer.q.chunks_exact(HEADS * GROUP * DIM).enumerate();
    // The last of each so many.
    queries.filter(move |(at, _)| (at + 1) % every == 0).map(move |(at, q)| {
        let seen = (first + at + 1) * DIM;
        let data = layer.heads.iter().map(|head| {
            let (keys, values) = (&head.keys[..seen], &head.values[..seen]);
            HeadSlices { keys, values }
        });
        Token { q, data: data.collect() }
    })
}

fn queries<'a>(q: &'a [f32], mode: Mode, share: Share) -> SparseQueries<'a> {
    let (heads, group) = (HEADS as u32, GROUP as u32);
    let lists = Lists { tokens: 1, heads, group, share, capacity: 4, sinks: SINKS, causal: true };
    SparseQueries { q, lists, logits: Logits::scaled((DIM as f64).sqrt().recip()), mode }
}

/// The index covers what is before the tokens that ask: at most 256 rows wait, as in a decode loop.
fn index(layer: &Layer, centred: bool) -> Result<KeyIndex> {
    let covered = (layer.rows() - ASKED) * DIM;
    let first = layer.heads.iter().map(|head| HeadData {
        keys: head.keys[..covered].to_vec(),
        values: head.values[..covered].to_vec(),
    });
    let first: Vec<HeadData> = first.collect();
    Ok(match centred {
        true => KeyIndex::build_centred(DIM, &first, TAIL_ROWS)?,
        false => KeyIndex::build(DIM, &first, TAIL_ROWS)?,
    })
}

/// All settings, over one of `every` tokens.
pub(crate) fn measure(
    layer: &Layer,
    settings: &[Setting],
    every: usize,
    bar: &ProgressBar,
) -> Result<Vec<Line>> {
    let (plain, centred) = (index(layer, false)?, index(layer, true)?);
    let mut rows: Vec<Vec<RowQuality>> = settings.iter().map(|_| Vec::new()).collect();
    let mut bytes = vec![(0, 0); settings.len()];
    for Token { q, data } in tokens(layer, every) {
        let dense = Mode::new(Selection::Threshold { keep: 0.0 });
        let exact = Exact::of(&queries(q, dense, Share::Query), &plain, &data)?;
        for (at, setting) in settings.iter().enumerate() {
            let queries = queries(q, setting.mode, setting.share);
            let index = if setting.centred { &centred } else { &plain };
            let outcome = attend(&queries, index, &data)?;
            rows[at].extend(compare(&outcome, &exact)?);
            for head in traffic(&queries, index, &outcome) {
                bytes[at].0 += head.read;
                bytes[at].1 += head.dense;
            }
            bar.inc(1);
        }
    }
    let lines = settings.iter().zip(rows).zip(bytes).map(|((setting, rows), (read, dense))| Line {
        setting: setting.name.clone(),
        share: setting.share(),
        traffic: read as f64 / dense as f64,
        all: Summary::of(rows.iter()),
        heads: Summary::heads(&rows, HEADS * GROUP),
    });
    Ok(lines.collect())
}

/// What each KV head could do with a centred index within an error that nine of ten query rows do not exceed.
pub(crate) fn choose(layer: &Layer, every: usize, target: f64) -> Result<Vec<Choice>> {
    let index = index(layer, true)?;
    let tokens: Vec<Token<'_>> = tokens(layer, every).collect();
    let recorded = tokens.iter().map(|Token { q, data }| Recorded {
        queries: queries(q, Mode::conservative(), Share::Group),
        index: &index,
        data,
    });
    let recorded: Vec<Recorded<'_>> = recorded.collect();
    let mut modes = grid(Tail::Mean);
    modes.extend(crate::modes::all().into_iter().map(|setting| setting.mode));
    Ok(tune(&recorded, &modes, target, 0.9)?)
}
