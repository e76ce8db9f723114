//! The case table of `top_rows`.

use super::bitplane::{Squeeze, generator, uniform};
use super::{CANARY_BYTES, Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::attention::sparse::{
    COUNTS, FLAGS, INDEX_MAP, IndexMap, LISTS, Lists, PICKED, REST, SCORES, Share, TOPS, Tail,
    UNREAD,
};
use crate::attention::top_rows::{Found, NAME, Ranked, Ranking, reference, rest};
use crate::attention::{CacheShape, KvElement, Layout, ROW_MAP, RowMap, TopRows};
use crate::launch::{Caps, Knobs, Reduce, Spec as _};
use crate::linear::Activation;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

/// What ranks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// As logits: of both signs, of few exponents.
    Logits,
    /// Few different numbers.
    Coarse,
    Equal,
    /// NaN, infinities and zeros of both signs among others.
    NotNumbers,
    /// Neighbours, and one far above them: all but it are of one bin.
    Close,
    /// Every fourth quad far above the others: a sample of such quads alone is not like the others.
    Waves,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopCase {
    /// Rows of each head, and how many of them have ranks.
    rows: &'static [[u32; 2]],
    queries: [u32; 2],
    share: Share,
    /// How many are looked for, of each head by turns.
    k: &'static [u32],
    capacity: u32,
    sinks: u32,
    tail: Tail,
    /// Whether all that is seen has ranks.
    seen: bool,
    causal: bool,
    paged: bool,
    flagged: bool,
    content: Content,
    lanes: Option<u32>,
    slices: Option<u32>,
    squeeze: Squeeze,
}

const DEFAULT: TopCase = TopCase {
    rows: &[[1500, 1400], [60, 60], [0, 0]],
    queries: [2, 1],
    share: Share::Group,
    k: &[100, 17],
    capacity: 256,
    sinks: 4,
    tail: Tail::None,
    seen: false,
    causal: true,
    paged: false,
    flagged: false,
    content: Content::Logits,
    lanes: None,
    slices: None,
    squeeze: Squeeze::None,
};

/// What words hold that nobody writes.
const KEPT: u32 = 0x0707_0707;

pub(super) fn cases() -> Vec<TopCase> {
    use Content::{Close, Coarse, Equal, Logits, NotNumbers, Waves};
    let mut all = vec![DEFAULT];
    for (at, content) in [Logits, Coarse, Equal, NotNumbers, Close].into_iter().enumerate() {
        let share = [Share::Query, Share::Group][at % 2];
        let lanes = [Some(256), Some(512), None][at % 3];
        let rows = &[[5000, 4900], [700, 690]][..];
        all.push(TopCase { content, share, lanes, rows, k: &[900, 3], capacity: 1024, ..DEFAULT });
        // All rows, of more than one tile.
        let seen = TopCase { content, share, lanes, rows, capacity: 512, seen: true, ..DEFAULT };
        let k = [&[300][..], &[600], &[1], &[511], &[512]][at];
        all.push(TopCase { k, paged: at % 2 == 1, queries: [2, 2], ..seen });
    }
    let mean = TopCase { tail: Tail::Mean, share: Share::Query, ..DEFAULT };
    all.push(TopCase { queries: [4, 1], share: Share::Group, paged: true, ..mean });
    // What is in the index every token sees.
    let rows = &[[1500, 1400], [60, 58], [0, 0]][..];
    all.push(TopCase { rows, queries: [3, 2], k: &[0, 60], ..mean });
    all.push(TopCase { queries: [16, 1], share: Share::Group, flagged: true, ..mean });
    // None, as many as there are, more; no room for all; more sinks than ranks.
    all.push(TopCase { k: &[0], ..DEFAULT });
    all.push(TopCase { k: &[1396, 5000], capacity: 2000, causal: false, ..DEFAULT });
    all.push(TopCase { k: &[1395, 56], capacity: 2000, ..DEFAULT });
    all.push(TopCase { k: &[500], capacity: 108, ..DEFAULT });
    all.push(TopCase { capacity: 64, flagged: true, ..DEFAULT });
    all.push(TopCase { sinks: 80, rows: &[[100, 70], [90, 90]], ..DEFAULT });
    all.push(TopCase { sinks: 0, rows: &[[1, 1], [2, 0]], k: &[1], queries: [1, 3], ..DEFAULT });
    let rows = &[[5000, 4900], [700, 690]][..];
    let waves = TopCase { content: Waves, lanes: Some(256), rows, k: &[2000], ..DEFAULT };
    let waves = TopCase { capacity: 2200, ..waves };
    all.push(waves);
    // Several workgroups a list, of slices that end within tiles, of heads with fewer rows than slices have.
    let sliced = TopCase { slices: Some(3), ..DEFAULT };
    for (at, content) in [Logits, Coarse, Equal, NotNumbers, Close].into_iter().enumerate() {
        let lanes = [Some(256), None, Some(512)][at % 3];
        let (tail, share) =
            [(Tail::Mean, Share::Query), (Tail::None, Share::Group)][usize::from(at > 0)];
        let own = TopCase { content, lanes, rows, tail, share, ..sliced };
        all.push(TopCase { k: &[900, 3], capacity: 1024, ..own });
        let k = [&[511][..], &[600], &[1], &[4900], &[512]][at];
        let seen = TopCase { seen: true, slices: Some(2 + 5 * at as u32), tail: Tail::None, ..own };
        let paged = at % 2 == 0;
        all.push(TopCase { k, paged, queries: [1 + at as u32 % 2, 2], capacity: 2048, ..seen });
    }
    all.push(TopCase { slices: Some(5), ..waves });
    let mean = TopCase { slices: Some(4), ..mean };
    all.push(TopCase { queries: [4, 1], share: Share::Group, paged: true, ..mean });
    let rows = &[[1500, 1400], [60, 58], [0, 0], [7, 6], [3000, 3]][..];
    all.push(TopCase { rows, queries: [3, 2], k: &[0, 60, 5], ..mean });
    all.push(TopCase { queries: [2, 1], share: Share::Group, flagged: true, ..mean });
    all.push(TopCase { k: &[1395, 5000], capacity: 2000, causal: false, ..sliced });
    all.push(TopCase { k: &[500], capacity: 108, ..sliced });
    all.push(TopCase { capacity: 64, flagged: true, ..sliced });
    all.push(TopCase { sinks: 80, rows: &[[100, 70], [90, 90]], k: &[5], ..sliced });
    all.push(TopCase {
        squeeze: Squeeze::Groups(40),
        queries: [1, 16],
        slices: Some(32),
        ..DEFAULT
    });
    // Many slices by default, beyond 2^20 rows; a grid of two dimensions with spare workgroups.
    let rows = &[[(1 << 20) + 700, (1 << 20) + 650]];
    let one = [1, 1];
    all.push(TopCase { rows, queries: one, k: &[4000], capacity: 4096, ..DEFAULT });
    all.push(TopCase { squeeze: Squeeze::Groups(2), ..DEFAULT });
    all
}

impl TopCase {
    fn lists(&self) -> Lists {
        let [group, tokens] = self.queries;
        Lists {
            tokens,
            heads: self.rows.len() as u32,
            group,
            share: self.share,
            capacity: self.capacity,
            sinks: if self.seen { 0 } else { self.sinks },
            causal: self.causal,
        }
    }

    fn layout(&self) -> Result<Layout> {
        let shape = CacheShape::new(self.rows.len(), 64, KvElement::F16)?;
        let kept: Vec<u32> = self.rows.iter().map(|rows| rows[0]).collect();
        let most = kept.iter().copied().max().unwrap_or(0);
        match self.paged {
            false => Layout::ragged(shape, &kept, 16, most),
            true => {
                let pages = kept.iter().map(|kept| kept.div_ceil(16) + 2).sum();
                Layout::paged(shape, &kept, 16, pages, most)
            }
        }
    }

    fn ranks(&self, len: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let one = |at: usize| {
            let (value, bits) = (uniform(rng), rng.next_u32());
            match self.content {
                Content::Logits => 9.0 * value * value.abs() - 2.0,
                Content::Coarse => (bits >> 8 & 7) as f32 - 3.0,
                Content::Equal => -1.25,
                Content::NotNumbers => match bits % 11 {
                    0 => f32::NAN,
                    1 => -f32::NAN,
                    2 => f32::INFINITY,
                    3 => f32::NEG_INFINITY,
                    4 => 0.0,
                    5 => -0.0,
                    _ => value,
                },
                Content::Waves => value + if at / 4 % 4 == 1 { 9.0 } else { 0.0 },
                Content::Close if at == 3 => 3e38,
                Content::Close => f32::from_bits(0x3f00_0000 + (bits >> 8 & 0xfff)),
            }
        };
        (0..len).map(one).collect()
    }

    /// How many of a head are looked for.
    fn k(&self, head: usize) -> u32 {
        self.k[head % self.k.len()]
    }
}

/// Words of an output, of which some are not written.
struct Words(Vec<u32>);

impl Words {
    /// One word for each of `len`, those that are written first.
    fn row(&mut self, written: impl Iterator<Item = u32>, len: usize) {
        let end = self.0.len() + len;
        self.0.extend(written);
        self.0.resize(end, KEPT);
    }

    /// Nothing to judge where nothing is written.
    fn put(self, binding: u32, tensors: &mut Vec<Tensor>, outputs: &mut Vec<Output>) {
        let poison = u32::from_le_bytes([POISON; 4]);
        let before: Vec<u32> =
            self.0.iter().map(|word| if *word == KEPT { KEPT } else { poison }).collect();
        if self.0.iter().any(|word| *word != KEPT) {
            let expected = Expected::Bytes(bytemuck::cast_slice(&self.0).to_vec());
            outputs.push(Output { binding, expected });
        }
        let mut bytes = bytemuck::cast_slice(&before).to_vec();
        bytes.resize(bytes.len() + CANARY_BYTES, POISON);
        tensors.push(Tensor::input(binding, bytes));
    }
}

/// As integers of the same order.
fn image(score: f32) -> u32 {
    let bits = score.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

impl Case for TopCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { rows, queries: [group, tokens], k, capacity, sinks, .. } = self;
        let mut name = format!(
            "{rows:?} G{group} T{tokens} {:?} k{k:?} of {capacity} sinks {sinks} {:?} {:?}",
            self.share, self.tail, self.content
        );
        for (is, word) in [
            (self.seen, " all"),
            (!self.causal, " not causal"),
            (self.paged, " paged"),
            (self.flagged, " flagged"),
        ] {
            name += if is { word } else { "" };
        }
        if let Some(lanes) = self.lanes {
            name += &format!(" {lanes} lanes");
        }
        if let Some(slices) = self.slices {
            name += &format!(" {slices} slices");
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)> {
        let fits =
            |lanes: &u32| *lanes <= caps.max_invocations && caps.max_workgroup_bytes > 20 << 10;
        let workgroup = self.lanes.filter(fits);
        let slices = self.slices;
        let mut all = vec![("baseline", Knobs { workgroup, slices, ..Knobs::baseline() })];
        if caps.subgroups && caps.subgroup_min >= 4 && caps.subgroup_max <= 128 {
            let reduce = Some(Reduce::Subgroup);
            all.push(("subgroup", Knobs { workgroup, reduce, slices, ..Knobs::DEFAULT }));
        }
        all
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let mut rng = generator(&self.name());
        let (lists, layout) = (self.lists(), self.layout()?);
        let (map, view) = (RowMap::new(&layout, &[])?, layout.view());
        let room: Vec<u32> = self.rows.iter().map(|rows| rows[0] + 5).collect();
        let covered: Vec<u32> = self.rows.iter().map(|rows| rows[1]).collect();
        let budgets: Vec<u32> = (0..self.rows.len()).map(|head| self.k(head)).collect();
        let mut index = IndexMap::new(64, &room)?;
        index.extend(&covered)?;
        index.set_budgets(&budgets)?;
        let shape = *index.shape();
        let ranked = match self.seen {
            false => Ranked::Index { shape, tail: self.tail },
            true => Ranked::Seen { stride: shape.most, k: self.k(0) },
        };
        let rows = covered.iter().map(|rows| u64::from(*rows)).sum();
        let spec = TopRows { lists, map: *map.shape(), ranked, rows, listed: 100 };

        let most = shape.most as usize;
        let queries = lists.queries() as usize;
        let mut scores = self.ranks(lists.query_rows() as usize * most, &mut rng);
        let tops: Vec<f32> = (0..lists.query_rows()).map(|query| query as f32 / 4.0).collect();
        let behind = if !self.seen && queries > 1 { lists.count() as usize * most } else { 0 };
        let ranks = self.ranks(behind, &mut rng);
        let mut found: Vec<Found> = Vec::new();
        let mut sums = Numbers::default();
        let [mut listed, mut counts, mut picked] = [(); 3].map(|()| Words(Vec::new()));
        let flags: Vec<u32> =
            (0..self.rows.len()).map(|h| u32::from(self.flagged && h == 0)).collect();
        for list in 0..lists.count() {
            let head = lists.head_of(list) as usize;
            let [len, in_index] = self.rows[head];
            let with_rank = if self.seen { lists.seen(list, len) } else { in_index } as usize;
            let of_query = |query: u32| &scores[query as usize * most..][..with_rank];
            let made = |row: usize| {
                let less = |query: u32| of_query(query)[row] - tops[query as usize];
                let all = || lists.rows_of(list).map(less);
                if all().any(f32::is_nan) { f32::NAN } else { all().fold(-1e30, f32::max) }
            };
            let own: Vec<f32> = match (self.seen, queries) {
                (_, 1) => of_query(list).to_vec(),
                (true, _) => (0..with_rank).map(made).collect(),
                (false, _) => ranks[list as usize * most..][..with_rank].to_vec(),
            };
            let flagged = flags[head] == 1;
            let k = if self.seen { self.k(0) } else { self.k(head) };
            let one = reference(&lists, list, &Ranking { len, ranks: &own, k, flagged });
            let of_tensor = |row: &u32| view.row(head, *row).unwrap_or(0);
            listed.row(one.rows.iter().map(of_tensor), self.capacity as usize);
            counts.row(one.counts.into_iter(), 4);
            for query in lists.rows_of(list) {
                let score = |row: &u32| of_query(query)[*row as usize].to_bits();
                if self.seen {
                    picked.row(one.rows.iter().map(score), self.capacity as usize);
                } else {
                    sums.query(of_query(query), &one.rows, flagged);
                }
            }
            found.push(one);
        }
        scores.extend(ranks);
        let bytes = |words: &[u32]| bytemuck::cast_slice(words).to_vec();
        let mut tensors = vec![
            Tensor::input(ROW_MAP, bytes(map.words())),
            Tensor::input(SCORES, bytemuck::cast_slice(&scores).to_vec()),
        ];
        let mut outputs = Vec::new();
        listed.put(LISTS, &mut tensors, &mut outputs);
        counts.put(COUNTS, &mut tensors, &mut outputs);
        if self.seen {
            picked.put(PICKED, &mut tensors, &mut outputs);
            let images: Vec<u32> = tops.iter().map(|top| image(*top)).collect();
            tensors.push(Tensor::input(TOPS, bytes(&images)));
        } else {
            tensors.push(Tensor::input(INDEX_MAP, bytes(index.words())));
            tensors.push(Tensor::input(FLAGS, bytes(&flags)));
        }
        if self.tail == Tail::Mean {
            tensors.push(Tensor::input(UNREAD, bytemuck::cast_slice(&sums.unread).to_vec()));
            tensors.push(Tensor::output(REST, 4 * sums.rest.len()));
            let (element, values, tolerance) = (Activation::F32, sums.rest, sums.tolerance);
            let expected = Expected::Close { element, values, tolerance, relative: 1e-4 };
            outputs.push(Output { binding: REST, expected });
        }
        Ok(Proof { launches: spec.launches(&self.squeeze.apply(caps), knobs)?, tensors, outputs })
    }
}

/// What query rows' unread components come to, and what rows that are not listed weigh with them.
#[derive(Default)]
struct Numbers {
    unread: Vec<f32>,
    rest: Vec<f64>,
    tolerance: Vec<f64>,
}

impl Numbers {
    fn query(&mut self, scores: &[f32], listed: &[u32], flagged: bool) {
        let unread = 0.375 + self.rest.len() as f32;
        self.unread.push(unread);
        let nothing = f64::from(crate::attention::NO_KEY);
        let left = if flagged { nothing } else { rest(scores, listed, unread.into()) };
        self.rest.push(left);
        // Sums, joined some tens of times, of powers that are off by some units.
        let unit = f64::from(f32::EPSILON);
        self.tolerance.push(if left == nothing { 0.0 } else { 512.0 * unit });
    }
}
