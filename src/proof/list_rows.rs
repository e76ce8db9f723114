//! The case table of `list_rows`.

use super::append_kv::Placed;
use super::bitplane::{Squeeze, generator, stored, uniform};
use super::products::gamma;
use super::{Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::attention::decode::Q;
use crate::attention::list_rows::{NAME, Searched, reference, reference_rest};
use crate::attention::reference::Logits;
use crate::attention::sparse::{
    COUNTS, FLAGS, FOUND, HITS, INDEX_MAP, IndexMap, LISTS, Lists, REST, SUMS, Share, Tail,
};
use crate::attention::{CacheShape, DecodeQueries, KvElement, Layout, ListRows, ROW_MAP, RowMap};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::Activation;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

/// Which sums are above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hits {
    /// About so many of 100.
    Some(u32),
    /// None of a head's.
    NoneOf(usize),
    /// The last row's alone.
    Last,
    /// Those of sinks alone.
    Sinks,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowsCase {
    /// Rows of every head, the new tokens' among them; of a plain layout all as the first.
    lens: &'static [u32],
    /// Rows beyond the index.
    beyond: u32,
    placed: Placed,
    tokens: u32,
    group: u32,
    share: Share,
    capacity: u32,
    sinks: u32,
    causal: bool,
    hits: Hits,
    /// A head that is flagged, and a query row that could not be searched for.
    flagged: Option<usize>,
    blind: Option<usize>,
    tail: Tail,
    dim: usize,
    input: Activation,
    softcap: Option<f32>,
    squeeze: Squeeze,
}

const DEFAULT: RowsCase = RowsCase {
    lens: &[700, 1, 333],
    beyond: 21,
    placed: Placed::Ragged,
    tokens: 1,
    group: 4,
    share: Share::Group,
    capacity: 800,
    sinks: 4,
    causal: true,
    hits: Hits::Some(20),
    flagged: None,
    blind: None,
    tail: Tail::None,
    dim: 64,
    input: Activation::F32,
    softcap: None,
    squeeze: Squeeze::None,
};

pub(super) fn cases() -> Vec<RowsCase> {
    let (tail, share) = (Tail::Mean, Share::Query);
    vec![
        DEFAULT,
        RowsCase { share, tokens: 3, group: 5, placed: Placed::Paged(16), tail, ..DEFAULT },
        // Tiles of 4096 rows: one row less, one more, several.
        RowsCase { lens: &[4095, 4097, 10_000], capacity: 10_000, beyond: 0, ..DEFAULT },
        RowsCase { lens: &[9000], placed: Placed::Plain, sinks: 4500, capacity: 9000, ..DEFAULT },
        RowsCase { hits: Hits::Last, sinks: 0, beyond: 0, share, tail, dim: 80, ..DEFAULT },
        // All rows are sinks, or none is covered.
        RowsCase { sinks: 1000, tail, ..DEFAULT },
        RowsCase { beyond: 700, tail, ..DEFAULT },
        RowsCase { hits: Hits::Sinks, sinks: 3, ..DEFAULT },
        // Nothing found, nothing to be searched.
        RowsCase { hits: Hits::NoneOf(2), tail, dim: 256, ..DEFAULT },
        RowsCase { flagged: Some(0), blind: Some(9), share, tail, ..DEFAULT },
        RowsCase { blind: Some(5), tokens: 2, tail, ..DEFAULT },
        // What does not fit, found rows or all.
        RowsCase { capacity: 36, tail, ..DEFAULT },
        RowsCase { capacity: 12, hits: Hits::NoneOf(0), tail, ..DEFAULT },
        RowsCase { flagged: Some(2), capacity: 100, tail, ..DEFAULT },
        // Tokens that see all rows; more rows than u16 counts.
        RowsCase { causal: false, tokens: 4, placed: Placed::Paged(32), tail, ..DEFAULT },
        RowsCase { lens: &[70_001], hits: Hits::Some(1), capacity: 4000, tail, ..DEFAULT },
        RowsCase {
            input: Activation::F16,
            softcap: Some(2.0),
            tokens: 2,
            tail,
            squeeze: Squeeze::Groups(5),
            dim: 128,
            ..DEFAULT
        },
    ]
}

impl RowsCase {
    fn lists(&self) -> Lists {
        let Self { tokens, group, share, capacity, sinks, causal, .. } = *self;
        // A few heads.
        let heads = self.lens.len() as u32;
        Lists { tokens, heads, group, share, capacity, sinks, causal }
    }

    fn layout(&self) -> Result<Layout> {
        let shape = CacheShape::new(self.lens.len(), self.dim, KvElement::F16)?;
        let mut layout = self.placed.layout(shape, self.lens, self.lens[0])?;
        if self.placed == Placed::Plain {
            layout.append(self.lens[0])?;
        }
        Ok(layout)
    }

    /// Sums of every query row; those beyond the index are garbage above 0.
    fn sums(&self, lists: &Lists, map: &IndexMap, rng: &mut ChaCha8Rng) -> Vec<Vec<i32>> {
        let of = |row: u32| {
            let head = (row / self.group % lists.heads) as usize;
            let rows = map.heads()[head].rows;
            let draw = |at: u32| {
                let size = (rng.next_u32() >> 2) as i32;
                let hit = match self.hits {
                    Hits::Some(percent) => rng.next_u32() % 100 < percent,
                    Hits::NoneOf(none) => head != none && rng.next_u32() % 100 < 20,
                    Hits::Last => at + 1 == rows,
                    Hits::Sinks => at < self.sinks,
                };
                if hit || at >= rows { size + 1 } else { -(size % 3) * (size / 3) }
            };
            (0..map.shape().most).map(draw).collect()
        };
        (0..lists.query_rows()).map(of).collect()
    }
}

/// What `rest` has to be and by how much it may be off.
fn rest((q, sums): (&[f32], [&[f32]; 2]), rows: (u32, u32), queries: &DecodeQueries) -> (f64, f64) {
    let logits = Logits { scale: queries.scale.into(), softcap: queries.softcap.map(f64::from) };
    let value = reference_rest(q, sums, rows, logits);
    if rows.0 == 0 || rows.1 == 0 {
        return (f64::from(value as f32), 0.0);
    }
    let (count, scale) = (f64::from(rows.0), logits.scale);
    let condition = q.iter().zip(sums[0]).zip(sums[1]).map(|((q, sum), square)| {
        let (share, mean) = (scale * f64::from(*q), f64::from(*sum) / count);
        // The variance is a difference.
        (share * mean).abs() + share * share * (f64::from(*square) / count + mean * mean) / 2.0
    });
    let log2_e = std::f64::consts::LOG2_E;
    let logit = log2_e * gamma(q.len() + 16) * condition.sum::<f64>();
    // Of a logarithm and a hyperbolic tangent: some units, 2^-21 absolutely.
    let cap = logits.softcap.map_or(0.0, |c| 16.0 * c * f64::from(f32::EPSILON));
    let log = 2f64.powi(-21) + 4.0 * f64::from(f32::EPSILON) * (24.0 + value.abs());
    (value, logit + log2_e * cap + log)
}

impl Case for RowsCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { lens, beyond, placed, tokens, group, share, capacity, sinks, hits, .. } = self;
        let mut name = format!(
            "{lens:?} {beyond} beyond {placed:?} T{tokens} G{group} {share:?} {hits:?} sinks {sinks} \
             in {capacity}"
        );
        if !self.causal {
            name += " of a memory";
        }
        for (what, at) in [("flagged", self.flagged), ("blind", self.blind)] {
            name += &at.map_or(String::new(), |at| format!(" {what} {at}"));
        }
        if self.tail == Tail::Mean {
            name += &format!(" rest D{} {}", self.dim, self.input.name());
        }
        if let Some(softcap) = self.softcap {
            name += &format!(" softcap {softcap}");
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs::baseline())]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let mut rng = generator(&self.name());
        let (lists, layout) = (self.lists(), self.layout()?);
        let (view, lens) = (layout.view(), layout.lengths());
        let mut map = IndexMap::new(self.dim, &lens)?;
        let covered: Vec<u32> = lens.iter().map(|len| len.saturating_sub(self.beyond)).collect();
        map.extend(&covered)?;
        let row_map = RowMap::new(&layout, &[])?;
        let queries = DecodeQueries {
            q_len: self.tokens as usize,
            input: self.input,
            softcap: self.softcap,
            ..DecodeQueries::new(layout.shape(), self.group as usize)
        };
        let spec = ListRows {
            lists,
            queries,
            index: *map.shape(),
            map: *row_map.shape(),
            tail: self.tail,
            covered: 0,
            listed: 0,
        };
        let hits = self.sums(&lists, &map, &mut rng);
        let mut flags = vec![0u32; lens.len()];
        self.flagged.into_iter().for_each(|head| flags[head] = 1);
        let blind = |row: usize| self.blind == Some(row);
        let found = (0..hits.len()).flat_map(|row| [u32::from(blind(row)), 1, 1, u32::MAX]);
        let found: Vec<u32> = found.collect();

        let (mut rows, mut counts, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for list in 0..lists.count() {
            let head = lists.head_of(list) as usize;
            let own = lists.rows_of(list).map(|row| row as usize);
            let asked: Vec<_> = own.map(|row| (blind(row), hits[row].as_slice())).collect();
            let (len, columns, flagged) = (lens[head], map.heads()[head], flags[head] != 0);
            let searched = Searched { len, columns, flagged, queries: &asked };
            let listed = reference(&lists, list, &searched);
            let places = listed.rows.iter().map(|row| view.row(head, *row).unwrap_or(u32::MAX));
            let poison = u32::from_ne_bytes([POISON; 4]);
            rows.extend(places.chain(std::iter::repeat(poison)).take(self.capacity as usize));
            counts.extend(listed.counts);
            left.push(lists.seen(list, len) - listed.counts[0]);
        }
        let bytes = |words: &[u32]| bytemuck::cast_slice(words).to_vec();
        let output =
            |binding, words: &[u32]| Output { binding, expected: Expected::Bytes(bytes(words)) };
        let all: Vec<i32> = hits.concat();
        let mut tensors = vec![
            Tensor::input(ROW_MAP, bytes(row_map.words())),
            Tensor::input(INDEX_MAP, bytes(map.words())),
            Tensor::input(FLAGS, bytes(&flags)),
            Tensor::input(FOUND, bytes(&found)),
            Tensor::input(HITS, bytemuck::cast_slice(&all).to_vec()),
            Tensor::output(LISTS, 4 * rows.len()),
            Tensor::output(COUNTS, 4 * counts.len()),
        ];
        let mut outputs = vec![output(LISTS, &rows), output(COUNTS, &counts)];
        if self.tail == Tail::Mean {
            let dim = self.dim;
            let round = |x: f32| match self.input {
                Activation::F32 => x,
                Activation::F16 => half::f16::from_f32(x).to_f32(),
            };
            let q = (0..hits.len() * dim).map(|_| round(2.0 * uniform(&mut rng)));
            let q: Vec<f32> = q.collect();
            let mut sums = Vec::new();
            for rows in &covered {
                let mean: Vec<f32> = (0..dim).map(|_| uniform(&mut rng)).collect();
                let count = *rows as f32;
                sums.extend(mean.iter().map(|mean| count * mean));
                sums.extend(mean.iter().map(|m| count * (m * m + uniform(&mut rng).abs() - 0.01)));
                sums.extend(std::iter::repeat_n(f32::NAN, dim));
            }
            if let Some(head) = self.flagged {
                sums[3 * head * dim..][..2 * dim].fill(f32::NAN);
            }
            let (mut values, mut tolerance) = (Vec::new(), Vec::new());
            for row in 0..hits.len() {
                let head = row / self.group as usize % lens.len();
                let of_head = &sums[3 * head * dim..];
                let both = [&of_head[..dim], &of_head[dim..2 * dim]];
                let known = if flags[head] == 0 { covered[head] } else { 0 };
                let rows = (known, left[row / lists.queries() as usize]);
                let (value, off) = rest((&q[row * dim..][..dim], both), rows, &queries);
                values.push(value);
                tolerance.push(off);
            }
            tensors.extend([
                Tensor::input(Q, stored(&q, self.input)),
                Tensor::input(SUMS, bytemuck::cast_slice(&sums).to_vec()),
                Tensor::output(REST, 4 * values.len()),
            ]);
            let (element, relative) = (Activation::F32, 1e-5);
            let expected = Expected::Close { element, values, tolerance, relative };
            outputs.push(Output { binding: REST, expected });
        }
        let launches = spec.launches(&self.squeeze.apply(caps), knobs)?;
        Ok(Proof { launches, tensors, outputs })
    }
}
