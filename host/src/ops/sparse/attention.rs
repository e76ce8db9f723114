//! Steps of sparse attention on the device.

use super::DeviceIndex;
use crate::ops::attend_rows::{Outputs, args_of_outputs, args_of_rows};
use crate::ops::{DeviceCache, DeviceRowMap};
use crate::{Arg, Bound, Context, View};
use fewbytes::attention::decode::Q;
use fewbytes::attention::sparse::sorted::SINKS;
use fewbytes::attention::sparse::{
    Amount, COLUMNS, COUNTS, FLAGS, INDEX_MAP, Lists, Mode, ORDER, SORTED, SUMS, Selection, Share,
    SparseStep,
};
use fewbytes::attention::{AttendRows, DecodeQueries, Layout, ROW_MAP};
use fewbytes::launch::Traffic;
use fewbytes::{Error, Knobs, Result};

/// How rows are found and who shares them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseOptions {
    /// How rows are found, and whether the others count.
    pub mode: Mode,
    /// Whether query heads of a KV head share what they attend to.
    pub share: Share,
    /// First rows of every head that are attended to whatever a search finds.
    pub sinks: u32,
    /// Whether new token `t` sees rows up to its own only; else all queries see all rows, as those of a memory
    /// do.
    pub causal: bool,
    /// Workgroups that attend to rows at a time.
    pub workgroups: u32,
    /// Rows that a list has room for; as many as a head may come to have where absent, which a greedy search
    /// needs for queries that find nothing.
    pub capacity: Option<u32>,
}

impl SparseOptions {
    /// Lists shared by query heads but for exact top-k, 4 sinks, causal, 264 workgroups.
    pub fn new(mode: Mode) -> Self {
        let share = match mode.selection {
            Selection::TopK { .. } | Selection::Threshold { .. } => Share::Query,
            _ => Share::Group,
        };
        Self { mode, share, sinks: SINKS, causal: true, workgroups: 264, capacity: None }
    }
}

/// What a step attended to, of one list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListReport {
    /// Rows listed.
    pub listed: u32,
    /// Those among them that always are.
    pub always: u32,
    /// Whether all rows were taken, because nothing could be searched.
    pub fallback: bool,
    /// Rows found for which the list had no room.
    pub left_out: u32,
}

/// The launches of a step, and the memory that one kernel leaves things in for the next.
pub struct SparseAttention {
    spec: SparseStep,
    plan: crate::Plan,
    work: Vec<(u32, View)>,
    scratch: Option<View>,
}

/// A step bound to its tensors.
pub struct BoundSparse {
    bound: Bound,
    spec: SparseStep,
    row_map: View,
    index: Option<View>,
}

impl SparseAttention {
    /// Plans steps over a cache, and makes their memory. `index` is for modes that search one; budgets are
    /// told to it with [`DeviceIndex::set_budget`] of [`SparseAttention::budget`].
    ///
    /// # Errors
    /// As [`SparseStep`]'s launches, [`Context::plan_with`] and [`Context::alloc`].
    pub fn new(
        ctx: &Context,
        cache: &DeviceCache,
        map: &DeviceRowMap,
        index: Option<&DeviceIndex>,
        queries: DecodeQueries,
        options: &SparseOptions,
    ) -> Result<Self> {
        let layout = cache.layout();
        let shape = *layout.shape();
        let heads = shape.kv_heads();
        let room = |head| layout.len(head).saturating_add(layout.room());
        let room = (0..heads).map(room).max().unwrap_or(0);
        let capacity = options.capacity.unwrap_or(room).max(1);
        let Some(capacity) = capacity.checked_next_multiple_of(4) else {
            return Err(Error::range("capacity of lists", "0..=4294967292", capacity));
        };
        let few = |what: &str, count: usize| {
            u32::try_from(count).map_err(|_| Error::range(what, format!("0..={}", u32::MAX), count))
        };
        let lists = Lists {
            tokens: few("new tokens", queries.q_len)?,
            heads: heads as u32,
            group: few("query heads of a KV head", queries.group)?,
            share: options.share,
            capacity,
            sinks: options.sinks,
            causal: options.causal,
        };
        lists.check()?;
        let spec = SparseStep {
            shape,
            tensor_rows: layout.rows(),
            queries,
            map: *map.map().shape(),
            index: index.map(|index| *index.shape()),
            lists,
            mode: options.mode,
            splits: AttendRows::usual_splits(&lists, options.workgroups),
            rows: room,
        };
        Self::of(ctx, spec)
    }

    /// A step that is described already.
    ///
    /// # Errors
    /// As [`SparseAttention::new`].
    pub fn of(ctx: &Context, spec: SparseStep) -> Result<Self> {
        let plan = ctx.plan_with(&spec, &Knobs::DEFAULT)?;
        let words =
            |bytes: u64| ctx.alloc::<u32>(usize::try_from(bytes.div_ceil(4)).unwrap_or(usize::MAX));
        let mut work = Vec::new();
        for (binding, bytes) in spec.work(ctx.caps(), &Knobs::DEFAULT)? {
            work.push((binding, words(bytes)?));
        }
        let bytes = plan.scratch_bytes();
        let scratch = if bytes > 0 { Some(words(bytes)?) } else { None };
        Ok(Self { spec, plan, work, scratch })
    }

    /// What was planned.
    pub fn spec(&self) -> &SparseStep {
        &self.spec
    }

    /// What a search may take of a head of the index.
    pub fn budget(&self) -> Option<Amount> {
        self.spec.budget()
    }

    /// Kernel and variant of every launch.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.plan.variants()
    }

    /// Bytes and operations of a step, as many as a host can tell beforehand.
    pub fn traffic(&self) -> Traffic {
        self.plan.traffic()
    }

    /// Bytes of the step's own memory.
    pub fn memory_bytes(&self) -> u64 {
        self.work.iter().map(|(_, view)| view).chain(&self.scratch).map(View::bytes).sum()
    }

    /// Binds `q [T, H G, D]`, the cache, its map and index, `o` of the shape of `q` and, where asked for,
    /// `lse [T, H G]` of f32: recording then allocates nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for views of another type or length, for an index, sorted columns or an `lse` too many
    /// or missing; as [`crate::Plan::bind`].
    pub fn bind(
        &self,
        q: &View,
        cache: &DeviceCache,
        map: &DeviceRowMap,
        index: Option<&DeviceIndex>,
        o: &View,
        lse: Option<&View>,
    ) -> Result<BoundSparse> {
        let SparseStep { shape, tensor_rows, queries, .. } = &self.spec;
        q.expect("q", queries.input.into(), queries.q_len_of(shape))?;
        if *map.map().shape() != self.spec.map {
            let (expected, found) =
                (format!("{:?}", self.spec.map), format!("{:?}", map.map().shape()));
            return Err(Error::shape("row map of another plan", expected, found));
        }
        let found = index.map(|index| *index.shape());
        if found != self.spec.index {
            let (expected, found) = (format!("{:?}", self.spec.index), format!("{found:?}"));
            return Err(Error::shape("index of another plan", expected, found));
        }
        let one = |binding, view| Arg { binding, pieces: std::slice::from_ref(view) };
        let (tensors, params) = (
            [Some(cache.keys()), Some(cache.values())],
            [cache.key_params(), cache.value_params()],
        );
        let mut args = vec![one(Q, q), one(ROW_MAP, map.words())];
        args.extend(args_of_rows(shape, *tensor_rows, tensors, params)?);
        if let Some(index) = index {
            args.extend([
                one(INDEX_MAP, index.words()),
                one(COLUMNS, index.columns()),
                one(SUMS, index.sums()),
                one(FLAGS, index.flags()),
            ]);
            if let Some([sorted, order]) = index.sorted() {
                args.extend([one(SORTED, sorted), one(ORDER, order)]);
            }
        }
        args.extend(args_of_outputs(shape, queries, &Outputs { o, lse })?);
        args.extend(self.work.iter().map(|(binding, view)| one(*binding, view)));
        Ok(BoundSparse {
            bound: self.plan.bind(&args, self.scratch.as_ref())?,
            spec: self.spec,
            row_map: map.words().clone(),
            index: index.map(|index| index.words().clone()),
        })
    }

    /// Reads what the last step attended to, a report a list.
    ///
    /// # Errors
    /// As [`Context::read`].
    pub async fn report(&self, ctx: &Context) -> Result<Vec<ListReport>> {
        let counts = self.work.iter().find(|(binding, _)| *binding == COUNTS);
        let missing = || Error::shape("counts of lists", "there", "none");
        let (_, counts) = counts.ok_or_else(missing)?;
        let words = ctx.read::<u32>(counts).await?;
        let report = |four: &[u32]| match *four {
            [listed, always, fallback, left_out] => {
                Some(ListReport { listed, always, fallback: fallback != 0, left_out })
            }
            _ => None,
        };
        Ok(words.chunks_exact(4).filter_map(report).collect())
    }
}

impl BoundSparse {
    /// Records every launch, for the layout as it is now. The map has to have been updated since rows were
    /// appended, and the index's update recorded before or submitted.
    ///
    /// # Errors
    /// [`Error::Shape`] for a map or an index that was not bound, or not brought up to date, and for one that
    /// was told another budget; [`Error::Range`] for an index of rows that a new token does not see, and for more
    /// rows of a head than were planned for, unless lists were given less room than that: nothing is recorded
    /// then. [`Error::DeviceLost`].
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        map: &DeviceRowMap,
        index: Option<&DeviceIndex>,
        layout: &Layout,
    ) -> Result<()> {
        if *map.words() != self.row_map || index.map(DeviceIndex::words) != self.index.as_ref() {
            return Err(Error::shape("row map and index", "those that were bound", "others"));
        }
        map.map().check(layout)?;
        if layout.rows() != self.spec.tensor_rows {
            let expected = self.spec.tensor_rows;
            return Err(Error::shape("rows of a cache", expected, layout.rows()));
        }
        // Logits of all rows lie side by side, and lists that were to have room for all rows have to.
        let budget = self.spec.budget();
        let whole = budget.is_none() || self.spec.lists.capacity >= self.spec.rows;
        for head in 0..layout.shape().kv_heads() {
            let (len, most) = (layout.len(head), self.spec.rows);
            if whole && len > most {
                let what = format!("rows of head {head} of a step");
                return Err(Error::range(what, format!("0..={most}"), len));
            }
        }
        if let Some(index) = index {
            let tokens = if self.spec.lists.causal { self.spec.queries.q_len } else { 1 };
            index.check(layout, tokens)?;
            if budget.is_some() && index.budget() != budget {
                let [expected, found] = [budget, index.budget()].map(|b| format!("{b:?}"));
                return Err(Error::shape("budget of an index", expected, found));
            }
        }
        self.bound.record(pass)
    }
}
