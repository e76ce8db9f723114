//! Caches on a device.

use super::gather_kv;
use crate::{Bound, Context, View};
use fewbytes::attention::append_kv::{Rotary, Step};
use fewbytes::attention::{
    AppendKv, GatherKv, KeepLists, KvCache, KvTensor, Layout, LayoutView, Placement, Places,
};
use fewbytes::linear::Activation;
use fewbytes::{Error, Knobs, Result};

/// Keys and values of the KV heads of one layer on a device, and where their rows lie. The layout is the
/// host's: what it says changes at once, and buffers follow with what is submitted next.
///
/// A step is [`DeviceCache::append`], which makes place and tells the device where, and then the recorded
/// [`append_kv`](super::append_kv). It is told by a write of the queue, which takes effect before what is
/// submitted next: so there is one step of a cache a submission.
#[derive(Debug)]
pub struct DeviceCache {
    layout: Layout,
    keys: View,
    values: View,
    key_params: Option<View>,
    value_params: Option<View>,
    heads: View,
    page_table: Option<View>,
    positions: Option<View>,
    step: View,
    /// Of what heads and page table on the device are.
    version: u64,
    /// KV heads of what is appended, and which of them is the cache's first.
    pub(super) input_heads: usize,
    pub(super) first_head: usize,
}

impl DeviceCache {
    /// A layout with data that are 0; `positions` says whether it keeps those of its rows.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] naming the cache where keys or values do not fit one binding (see
    /// [`DeviceCache::upload_groups`]); as [`Context::alloc`] and [`Context::write`].
    pub fn new(ctx: &Context, layout: Layout, positions: bool) -> Result<Self> {
        let (shape, places) = (*layout.shape(), Places::of(&layout));
        let (rows, limit) = (places.rows as usize, ctx.caps().bindable_bytes());
        let bytes = 4 * u64::from(places.rows) * shape.row_words() as u64;
        if bytes > limit {
            let (heads, element) = (shape.kv_heads(), shape.element().name());
            let what = format!("keys of a cache of {rows} rows of {heads} heads of {element}");
            return Err(Error::BindingTooLarge { what, bytes, limit });
        }
        let tensor = || ctx.alloc::<u32>(rows * shape.row_words());
        let params = || shape.element().scaled().then(|| ctx.alloc::<u32>(rows)).transpose();
        let table = || ctx.alloc::<u32>(places.entries.max(1) as usize);
        let cache = Self {
            keys: tensor()?,
            values: tensor()?,
            key_params: params()?,
            value_params: params()?,
            heads: ctx.alloc::<u32>(2 * shape.kv_heads())?,
            page_table: (places.page_rows > 0).then(table).transpose()?,
            positions: positions.then(|| ctx.alloc::<u32>(rows)).transpose()?,
            step: ctx.alloc::<u32>(4)?,
            version: layout.version(),
            input_heads: shape.kv_heads(),
            first_head: 0,
            layout,
        };
        cache.write_view(ctx, &cache.layout.view())?;
        Ok(cache)
    }

    /// Uploads a cache. Wrap errors with [`Error::in_layer`] to name the layer.
    ///
    /// # Errors
    /// As [`DeviceCache::new`].
    pub fn upload(ctx: &Context, cache: &KvCache) -> Result<Self> {
        let device = Self::new(ctx, cache.layout().clone(), cache.positions().is_some())?;
        ctx.write(&device.keys, cache.keys().words())?;
        ctx.write(&device.values, cache.values().words())?;
        for (view, tensor) in
            [(&device.key_params, cache.keys()), (&device.value_params, cache.values())]
        {
            view.iter().try_for_each(|view| ctx.write(view, tensor.params()))?;
        }
        if let (Some(view), Some(positions)) = (&device.positions, cache.positions()) {
            ctx.write(view, positions)?;
        }
        Ok(device)
    }

    /// Brings the cache back. Submits the copies; await it anywhere in a browser, or with
    /// [`Context::block_on`] elsewhere.
    ///
    /// # Errors
    /// As [`Context::read`]; and as [`KvTensor::from_parts`] and [`KvCache::from_parts`] where the device
    /// holds what cannot be, as when a step was made place for but not recorded.
    pub async fn read_back(&self, ctx: &Context) -> Result<KvCache> {
        let shape = *self.layout.shape();
        let mut tensors = Vec::new();
        for (what, words, params) in
            [("keys", &self.keys, &self.key_params), ("values", &self.values, &self.value_params)]
        {
            let words = ctx.read::<u32>(words).await?;
            let params = match params {
                Some(params) => ctx.read::<u32>(params).await?,
                None => Vec::new(),
            };
            tensors.push(KvTensor::from_parts(shape, what, words, params)?);
        }
        let positions = match &self.positions {
            Some(positions) => Some(ctx.read::<u32>(positions).await?),
            None => None,
        };
        let missing = || Error::shape("tensors of a cache", 2, "fewer");
        let (values, keys) = (tensors.pop().ok_or_else(missing)?, tensors.pop());
        KvCache::from_parts(self.layout.clone(), keys.ok_or_else(missing)?, values, positions)
    }

    /// Sizes and places.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Counts what makes plans and what is bound stale: see [`Layout::generation`].
    pub fn generation(&self) -> u64 {
        self.layout.generation()
    }

    /// The words of keys, `[rows, row_words]` of u32.
    pub fn keys(&self) -> &View {
        &self.keys
    }

    /// The words of values, `[rows, row_words]` of u32.
    pub fn values(&self) -> &View {
        &self.values
    }

    /// The params of keys, `[rows]` of u32, where the element has them.
    pub fn key_params(&self) -> Option<&View> {
        self.key_params.as_ref()
    }

    /// The params of values, `[rows]` of u32, where the element has them.
    pub fn value_params(&self) -> Option<&View> {
        self.value_params.as_ref()
    }

    /// First row or entry and kept rows of each head, `[kv_heads][2]` of u32.
    pub fn heads(&self) -> &View {
        &self.heads
    }

    /// The page table, as long as it may become, of u32; only in paged layouts.
    pub fn page_table(&self) -> Option<&View> {
        self.page_table.as_ref()
    }

    /// The position of every row, `[rows]` of u32, where they are kept.
    pub fn positions(&self) -> Option<&View> {
        self.positions.as_ref()
    }

    /// What the last step was told: [`Step::words`].
    pub fn step(&self) -> &View {
        &self.step
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        let optional = [&self.key_params, &self.value_params, &self.page_table, &self.positions];
        let always = [&self.keys, &self.values, &self.heads, &self.step];
        let optional = optional.into_iter().flatten();
        always.into_iter().chain(optional).map(View::bytes).sum()
    }

    /// The steps that append `tokens` tokens to this cache.
    pub fn append_spec(&self, tokens: u32, input: Activation, rotary: Option<Rotary>) -> AppendKv {
        let (input_heads, first_head) = (self.input_heads, self.first_head);
        let positions = self.positions.is_some();
        let new = AppendKv::new(*self.layout.shape(), Places::of(&self.layout), tokens);
        AppendKv { input, input_heads, first_head, rotary, positions, ..new }
    }

    /// The copy of `rows` rows of this cache into another.
    ///
    /// # Errors
    /// [`Error::Shape`] for a cache of other heads, dimension or element, and where one keeps positions and
    /// the other does not.
    pub fn gather_spec(&self, to: &Self, rows: u32) -> Result<GatherKv> {
        let (shape, other) = (*self.layout.shape(), to.layout.shape());
        if shape != *other {
            let (expected, found) = (format!("{shape:?}"), format!("{other:?}"));
            return Err(Error::shape("shape of the new cache", expected, found));
        }
        let positions = self.positions.is_some();
        if positions != to.positions.is_some() {
            let words = |kept| if kept { "kept" } else { "none" };
            let (expected, found) = (words(positions), words(!positions));
            return Err(Error::shape("positions of the new cache", expected, found));
        }
        let (from, to) = (Places::of(&self.layout), Places::of(&to.layout));
        Ok(GatherKv { shape, rows, from, to, positions })
    }

    /// Makes place for `tokens` rows of every head, which the step recorded in the next submission
    /// writes, and gives back how many had been appended before. `angle_row` is the first token's row of
    /// the table of angles: its position, [`Layout::next_position`], in a table of all positions; 0 in one
    /// made for the step, and without angles.
    ///
    /// # Errors
    /// [`Error::Range`] where there is no room, see [`DeviceCache::make_room`]; nothing has changed then.
    /// As [`Context::write`].
    pub fn append(&mut self, ctx: &Context, tokens: u32, angle_row: u32) -> Result<u32> {
        let position = self.layout.next_position();
        let before = self.layout.append(tokens)?;
        self.follow(ctx)?;
        ctx.write(&self.step, &Step { before, position, angle_row }.words())?;
        Ok(before)
    }

    /// Lays a full ragged cache out anew, with twice the reserve until `tokens` more rows fit: new buffers,
    /// into which all rows are copied. Submits the copy. Says whether it was needed: then what was planned
    /// or bound for this cache is stale.
    ///
    /// # Errors
    /// [`Error::Range`] for more rows than a tensor can have; as [`DeviceCache::new`]. Nothing has changed
    /// then. Plain and paged caches, whose sizes are given, stay as they are.
    pub fn make_room(&mut self, ctx: &Context, tokens: u32) -> Result<bool> {
        if tokens <= self.layout.room() || !matches!(self.layout.placement(), Placement::Ragged(_))
        {
            return Ok(false);
        }
        let mut layout = self.layout.clone();
        while tokens > layout.room() {
            layout.relayout()?;
        }
        *self = self.gathered(ctx, layout, &self.all_rows()?)?;
        Ok(true)
    }

    /// The same cache in buffers of its own, to go its own way. Submits the copy.
    ///
    /// # Errors
    /// As [`DeviceCache::new`].
    pub fn duplicate(&self, ctx: &Context) -> Result<Self> {
        self.gathered(ctx, self.layout.clone(), &self.all_rows()?)
    }

    /// What an eviction leaves: the rows that `keep` lists, as a ragged cache with room for `reserve` more
    /// in buffers of its own. Submits the copy. This cache stays as it is.
    ///
    /// # Errors
    /// As [`Layout::compacted`] and [`DeviceCache::new`].
    pub fn compact(&self, ctx: &Context, keep: &KeepLists, reserve: u32) -> Result<Self> {
        self.gathered(ctx, self.layout.compacted(keep, reserve)?, keep)
    }

    /// As [`DeviceCache::compact`] with lists that are on the device: `first [kv_heads + 1]` and `rows`, of
    /// u32, whose lengths are known. Records `before`, which may make them, ahead of the copy.
    ///
    /// # Errors
    /// As [`Layout::compacted_to`], [`DeviceCache::new`] and [`gather_kv::Plan::bind`].
    pub fn compact_listed(
        &self,
        ctx: &Context,
        lengths: &[u32],
        before: Option<Bound>,
        (first, rows): (&View, &View),
        reserve: u32,
    ) -> Result<Self> {
        let layout = self.layout.compacted_to(lengths, reserve)?;
        self.copied(ctx, layout, before, (first, rows))
    }

    /// The first rows of every head.
    pub(super) fn rows_of(&self, lengths: &[u32]) -> Result<KeepLists> {
        let all: Vec<Vec<u32>> = lengths.iter().map(|length| (0..*length).collect()).collect();
        KeepLists::new(&all, &self.layout.lengths())
    }

    /// Goes back to when `appended` rows had been appended, bit by bit.
    ///
    /// # Errors
    /// [`Error::Range`] for more than there are; as [`Context::write`].
    pub fn truncate(&mut self, ctx: &Context, appended: u32) -> Result<()> {
        self.layout.truncate(appended)?;
        self.follow(ctx)
    }

    fn all_rows(&self) -> Result<KeepLists> {
        self.rows_of(&self.layout.lengths())
    }

    fn gathered(&self, ctx: &Context, layout: Layout, keep: &KeepLists) -> Result<Self> {
        let (first, rows) = (ctx.upload(keep.first())?, ctx.upload(keep.rows())?);
        self.copied(ctx, layout, None, (&first, &rows))
    }

    fn copied(
        &self,
        ctx: &Context,
        layout: Layout,
        before: Option<Bound>,
        (first, rows): (&View, &View),
    ) -> Result<Self> {
        let to = Self::new(ctx, layout, self.positions.is_some())?;
        let limit = || Error::range("kept rows", format!("0..={}", u32::MAX), rows.len());
        let spec = self.gather_spec(&to, u32::try_from(rows.len()).map_err(|_| limit())?)?;
        let plan = gather_kv::plan(ctx, &spec, &Knobs::DEFAULT)?;
        let bound = plan.bind(self, &to, first, rows)?;
        let all = match before {
            Some(before) => before.then(bound),
            None => bound,
        };
        if !all.is_empty() {
            ctx.submit(|pass| all.record(pass))?;
        }
        Ok(Self { input_heads: self.input_heads, first_head: self.first_head, ..to })
    }

    /// Uploads heads and page table where the layout has changed them.
    fn follow(&mut self, ctx: &Context) -> Result<()> {
        if self.version != self.layout.version() {
            self.write_view(ctx, &self.layout.view())?;
            self.version = self.layout.version();
        }
        Ok(())
    }

    fn write_view(&self, ctx: &Context, view: &LayoutView) -> Result<()> {
        ctx.write(&self.heads, &view.head_words())?;
        match &self.page_table {
            Some(table) if !view.page_table.is_empty() => {
                ctx.write(&table.slice(0..view.page_table.len())?, &view.page_table)
            }
            _ => Ok(()),
        }
    }
}
