//! An index of a cache's keys on the device.

use crate::ops::build_index::{self, BoundIndex};
use crate::ops::decode::Rows;
use crate::ops::{DeviceCache, DeviceRowMap, IndexTensors, SortedTensors};
use crate::{Context, View};
use fewbytes::attention::Layout;
use fewbytes::attention::sparse::sorted::TAIL_ROWS;
use fewbytes::attention::sparse::{
    Amount, BuildIndex, IndexMap, IndexParts, IndexShape, IndexSource,
};
use fewbytes::{Error, Result};
use half::f16;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows that an index is extended by are multiples of this, so that columns are written in whole words.
const STEP: u32 = 64;

/// What an index consists of, and how it follows a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexOptions {
    /// Whether columns are sorted too: for a greedy search.
    pub sorted: bool,
    /// Rows beyond the index, at most, before it is extended: rounded up to a multiple of 64. Every one of
    /// them is attended to in every step; sorted columns are read and written whole to extend them.
    pub tail: u32,
    /// Rows of each head that there is room for; as many as it may come to have in the cache where absent.
    pub room: Option<u32>,
}

impl IndexOptions {
    /// Of columns, for a search by components, which are extended 128 rows at a time.
    pub fn columns() -> Self {
        Self { sorted: false, tail: 128, room: None }
    }

    /// Of sorted columns, for a greedy search, which are extended 512 rows at a time.
    pub fn sorted() -> Self {
        Self { sorted: true, tail: TAIL_ROWS, room: None }
    }
}

/// What brings an index up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Nothing: few rows are beyond it.
    None,
    /// All is made anew.
    Build,
    /// Rows are added.
    Grow,
}

/// Columns of the keys of a cache, sorted ones perhaps, and sums over its rows; which rows they cover is
/// known to the host. Its memory is its own and follows the cache only when [`DeviceIndex::update`] says so
/// and the work is recorded; the rows after those covered are attended to whatever a search finds.
///
/// Rows that were evicted, moved or taken back are still in it until [`DeviceIndex::clear`].
pub struct DeviceIndex {
    map: IndexMap,
    tail: u32,
    budget: Option<Amount>,
    words: View,
    columns: View,
    sums: View,
    flags: View,
    sorted: Option<[View; 2]>,
    scratch: Option<View>,
    build: BoundIndex,
    grow: BoundIndex,
    /// Of the layout that rows were taken from.
    generation: u64,
    /// Whether the device's words are those of the map.
    told: bool,
    /// Whether an update was decided upon that has not been recorded.
    owed: AtomicBool,
}

impl DeviceIndex {
    /// An index of no rows for a cache, whose tensors it reads from now on. [`DeviceIndex::update`] makes it
    /// cover what is there.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] naming the tensor: a cache can be split by its heads; as
    /// [`IndexMap::new`], [`Context::plan_with`], [`Context::alloc`] and [`build_index::Plan::bind`].
    pub fn new(
        ctx: &Context,
        cache: &DeviceCache,
        map: &DeviceRowMap,
        options: &IndexOptions,
    ) -> Result<Self> {
        let layout = cache.layout();
        let shape = *layout.shape();
        let heads = shape.kv_heads();
        let room = |head| options.room.unwrap_or(layout.len(head).saturating_add(layout.room()));
        let room: Vec<u32> = (0..heads).map(room).collect();
        let index = IndexMap::new(shape.head_dim(), &room)?;
        let of = *index.shape();
        let tail = options.tail.clamp(1, of.most).next_multiple_of(STEP).min(of.most);
        let parts = IndexParts { sums: true, sorted: options.sorted };
        let (tensor_rows, row_map) = (layout.rows(), *map.map().shape());
        let source = |at_once| IndexSource { shape, tensor_rows, map: row_map, index: of, at_once };
        let build = BuildIndex { source: source(of.most), parts, grows: false };
        let grow = BuildIndex { source: source(tail), parts, grows: true };
        let plans = [build_index::plan(ctx, &build)?, build_index::plan(ctx, &grow)?];
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let bytes = plans.iter().map(build_index::Plan::scratch_bytes).max().unwrap_or(0);
        let scratch = if bytes > 0 { Some(ctx.alloc::<u8>(count(bytes))?) } else { None };
        let columns = ctx.alloc::<f16>(count(of.elements.into()))?;
        let sums = ctx.alloc::<f32>(count(of.sums_len()))?;
        let words = ctx.alloc::<u32>(count(of.map_words()))?;
        let flags = ctx.alloc::<u32>(heads)?;
        let sorted = match options.sorted {
            true => {
                let order = ctx.alloc::<u32>(count(of.order_words()))?;
                Some([ctx.alloc::<f16>(count(of.elements.into()))?, order])
            }
            false => None,
        };
        let pair = sorted.as_ref().map(|[sorted, order]| SortedTensors { sorted, order });
        let tensors = IndexTensors {
            map: &words,
            columns: &columns,
            flags: &flags,
            sums: Some(&sums),
            sorted: pair,
        };
        let rows = Rows::of(cache);
        let bind = |plan: &build_index::Plan| plan.bind(&rows, map, &tensors, scratch.as_ref());
        let [build, grow] = &plans;
        let (build, grow) = (bind(build)?, bind(grow)?);
        Ok(Self {
            map: index,
            tail,
            budget: None,
            words,
            columns,
            sums,
            flags,
            sorted,
            scratch,
            build,
            grow,
            generation: layout.generation(),
            // An index of no rows, in memory of zeros.
            told: true,
            owed: AtomicBool::new(false),
        })
    }

    /// What a search may take of each head from now on; a change is told to the device with the next
    /// [`DeviceIndex::update`].
    ///
    /// # Errors
    /// As [`IndexMap::set_budgets`] and [`Context::write`].
    pub fn set_budget(&mut self, ctx: &Context, budget: Option<Amount>) -> Result<()> {
        if budget == self.budget {
            return Ok(());
        }
        self.budget = budget;
        self.tell(ctx)
    }

    /// Forgets all rows: the next update makes all anew, and steps are refused until then. To be called when
    /// rows have been evicted, moved or taken back, and when a submission with an update has failed.
    pub fn clear(&mut self) {
        self.map.clear();
        self.told = false;
        *self.owed.get_mut() = false;
    }

    /// Decides what brings the index up to date, and tells the device by writes that take effect before what
    /// is submitted next: nothing while fewer rows are beyond it than the tail has room for, else all rows that
    /// every one of `q_len` new tokens sees, in steps of 64. What it returns has to be recorded once, in that
    /// next submission, before the steps that search; what was not recorded is made anew by the next update.
    ///
    /// # Errors
    /// [`Error::Range`] naming the head for more rows than there is room for; [`Error::Shape`] for a layout of
    /// other heads, and for one that was evicted from or moved without [`DeviceIndex::clear`]; as
    /// [`Context::write`].
    pub fn update(&mut self, ctx: &Context, layout: &Layout, q_len: usize) -> Result<Update> {
        let heads = self.map.heads().len();
        if layout.shape().kv_heads() != heads {
            return Err(Error::shape("KV heads of an index", heads, layout.shape().kv_heads()));
        }
        let covered = self.map.heads().iter().any(|head| head.rows > 0);
        if covered && layout.generation() != self.generation {
            let (then, now) = (self.generation, layout.generation());
            return Err(Error::shape("generation of a layout that an index is of", then, now));
        }
        // 16 at most where it is asked.
        let new = u32::try_from(q_len.saturating_sub(1)).unwrap_or(u32::MAX);
        let target = |head: usize| layout.len(head).saturating_sub(new) / STEP * STEP;
        let targets: Vec<u32> = (0..heads).map(target).collect();
        let lacking = self.map.heads().iter().zip(&targets);
        let lacking = lacking.map(|(head, target)| target.saturating_sub(head.rows)).max();
        let lacking = lacking.unwrap_or(0);
        if self.map.heads().iter().zip(&targets).any(|(head, target)| head.rows > *target) {
            let what = "rows of a layout that an index covers";
            return Err(Error::shape(what, "as many as before or more", "fewer"));
        }
        let owed = *self.owed.get_mut();
        if !owed && (lacking == 0 || (covered && lacking < self.tail)) {
            if !self.told {
                self.tell(ctx)?;
            }
            return Ok(Update::None);
        }
        let update = match covered && !owed {
            true if lacking <= self.tail => Update::Grow,
            _ => Update::Build,
        };
        let mut map = self.map.clone();
        if update == Update::Build {
            map.clear();
        }
        map.extend(&targets)?;
        self.map = map;
        self.generation = layout.generation();
        self.told = false;
        *self.owed.get_mut() = true;
        if update == Update::Build {
            ctx.write(&self.flags, &vec![0u32; heads])?;
        }
        self.tell(ctx)?;
        Ok(update)
    }

    fn tell(&mut self, ctx: &Context) -> Result<()> {
        let budget = self.budget.unwrap_or(Amount::Count(0));
        let of = |rows| u32::try_from(budget.of(rows)).unwrap_or(u32::MAX);
        let budgets: Vec<u32> = self.map.heads().iter().map(|head| of(head.rows)).collect();
        self.map.set_budgets(&budgets)?;
        self.told = false;
        ctx.write(&self.words, self.map.words())?;
        self.told = true;
        Ok(())
    }

    /// Records what an update asks for.
    ///
    /// # Errors
    /// As [`BoundIndex::record`].
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        update: Update,
        map: &DeviceRowMap,
        layout: &Layout,
    ) -> Result<()> {
        match update {
            Update::None => return Ok(()),
            Update::Build => self.build.record(pass, &self.map, map, layout)?,
            Update::Grow => self.grow.record(pass, &self.map, map, layout)?,
        }
        self.owed.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// What a search may take of each head.
    pub fn budget(&self) -> Option<Amount> {
        self.budget
    }

    /// Whether the device knows which rows the index covers, an update of them is recorded, every one of them
    /// is seen by all of `q_len` new tokens of a layout, and none has been moved.
    pub(super) fn check(&self, layout: &Layout, q_len: usize) -> Result<()> {
        let covered = self.map.heads().iter().any(|head| head.rows > 0);
        if covered && layout.generation() != self.generation {
            let (then, now) = (self.generation, layout.generation());
            return Err(Error::shape("generation of a layout that an index is of", then, now));
        }
        for (head, columns) in self.map.heads().iter().enumerate() {
            let new = u32::try_from(q_len.saturating_sub(1)).unwrap_or(u32::MAX);
            let seen = layout.len(head).saturating_sub(new);
            if columns.rows > seen {
                let what = format!("rows of head {head} that an index covers");
                return Err(Error::range(what, format!("0..={seen}"), columns.rows));
            }
        }
        if !self.told {
            return Err(Error::shape("index that was cleared", "updated", "not updated"));
        }
        if self.owed.load(Ordering::Relaxed) {
            return Err(Error::shape("update of an index", "recorded before", "not recorded"));
        }
        Ok(())
    }

    /// How large the tensors are.
    pub fn shape(&self) -> &IndexShape {
        self.map.shape()
    }

    /// Which rows are covered.
    pub fn map(&self) -> &IndexMap {
        &self.map
    }

    /// The map's words on the device.
    pub fn words(&self) -> &View {
        &self.words
    }

    /// Keys by columns.
    pub fn columns(&self) -> &View {
        &self.columns
    }

    /// Sums over the rows covered.
    pub fn sums(&self) -> &View {
        &self.sums
    }

    /// Which heads cannot be searched.
    pub fn flags(&self) -> &View {
        &self.flags
    }

    /// Sorted columns and their rows, where there are any.
    pub fn sorted(&self) -> Option<&[View; 2]> {
        self.sorted.as_ref()
    }

    /// Bytes on the device, those of scratch memory included.
    pub fn memory_bytes(&self) -> u64 {
        let own = [&self.words, &self.columns, &self.sums, &self.flags];
        let sorted = self.sorted.iter().flatten().chain(&self.scratch);
        own.into_iter().chain(sorted).map(View::bytes).sum()
    }
}
