//! Which launches `top_rows` is: of one workgroup a list, or of several.

use super::{NAME, Ranked, TopRows};
use crate::attention::ROW_MAP;
use crate::attention::places::{largest, whole};
use crate::attention::sparse::{
    COUNTS, FLAGS, INDEX_MAP, LISTS, PICKED, REST, SCORES, TOPS, Tail, UNREAD,
};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Reduce, Scratch, Traffic, linear_grid,
};
use crate::{Error, Result};

/// Number of the binding of what slices leave for each other, scratch memory.
pub const WORK: u32 = 28;

/// Rows of a slice, about.
const SLICE_ROWS: u32 = 8192;
/// Counts of a slice are of 16 bits.
const MOST_ROWS: u32 = 1 << 15;
/// Workgroups of all lists that are enough for large devices.
const GROUPS: u32 = 256;
/// Slices of a list at most: all read the counts of all.
const SLICES: u32 = 32;
/// Keys of a bin that are compared with each other.
pub(super) const CACHE: u32 = 512;
/// Bins of ranks.
pub(super) const BINS: u32 = 2048;

const PARAMS: Binding = Binding::new(0, "params", Access::Uniform);
const SCHEDULE: Binding = Binding::new(ROW_MAP, "schedule", Access::Read);
const MAP: Binding = Binding::new(INDEX_MAP, "index_map", Access::Read);
const FLAGGED: Binding = Binding::new(FLAGS, "flags", Access::Read);
const ROWS: Binding = Binding::new(LISTS, "lists", Access::ReadWrite);
const NUMBERS: Binding = Binding::new(COUNTS, "counts", Access::ReadWrite);
const GIVEN: Binding = Binding::new(SCORES, "scores", Access::Read);
const LARGEST: Binding = Binding::new(TOPS, "tops", Access::Read);
const SUMS: Binding = Binding::new(UNREAD, "unread", Access::Read);
const LEFT: Binding = Binding::new(REST, "rest", Access::ReadWrite);
const COPIED: Binding = Binding::new(PICKED, "picked", Access::ReadWrite);
const MADE: Binding = Binding::new(WORK, "work", Access::ReadWrite);
const KEPT: Binding = Binding::new(WORK, "work", Access::Read);

/// What a list is of: which bindings there are.
#[derive(Debug, Clone, Copy)]
enum Of {
    Index,
    IndexAndRest,
    One,
    Several,
}

/// One launch of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// All of it.
    Whole,
    /// Ranks of a slice are counted.
    Count,
    /// Rows of a slice above the last bin are listed.
    List,
    /// Rows of the last bin are.
    Finish,
}

impl Stage {
    pub(super) const SLICED: [Self; 3] = [Self::Count, Self::List, Self::Finish];

    fn bindings(self, of: Of) -> &'static [Binding] {
        static WHOLE_INDEX: [Binding; 9] =
            [PARAMS, SCHEDULE, MAP, FLAGGED, ROWS, NUMBERS, GIVEN, SUMS, LEFT];
        static WHOLE_ONE: [Binding; 6] = [PARAMS, SCHEDULE, ROWS, NUMBERS, GIVEN, COPIED];
        static WHOLE_SEVERAL: [Binding; 7] =
            [PARAMS, SCHEDULE, ROWS, NUMBERS, GIVEN, LARGEST, COPIED];
        static COUNT_INDEX: [Binding; 6] = [PARAMS, SCHEDULE, MAP, FLAGGED, GIVEN, MADE];
        static COUNT_ONE: [Binding; 4] = [PARAMS, SCHEDULE, GIVEN, MADE];
        static COUNT_SEVERAL: [Binding; 5] = [PARAMS, SCHEDULE, GIVEN, LARGEST, MADE];
        static LIST_INDEX: [Binding; 8] =
            [PARAMS, SCHEDULE, MAP, FLAGGED, ROWS, NUMBERS, GIVEN, MADE];
        static LIST_ONE: [Binding; 7] = [PARAMS, SCHEDULE, ROWS, NUMBERS, GIVEN, COPIED, MADE];
        static LIST_SEVERAL: [Binding; 8] =
            [PARAMS, SCHEDULE, ROWS, NUMBERS, GIVEN, LARGEST, COPIED, MADE];
        static FINISH_INDEX: [Binding; 7] = [PARAMS, SCHEDULE, MAP, FLAGGED, ROWS, GIVEN, KEPT];
        static FINISH_REST: [Binding; 9] =
            [PARAMS, SCHEDULE, MAP, FLAGGED, ROWS, GIVEN, SUMS, LEFT, KEPT];
        static FINISH_ONE: [Binding; 6] = [PARAMS, SCHEDULE, ROWS, GIVEN, COPIED, KEPT];
        static FINISH_SEVERAL: [Binding; 7] =
            [PARAMS, SCHEDULE, ROWS, GIVEN, LARGEST, COPIED, KEPT];
        match (self, of) {
            (Self::Whole, Of::Index) => &WHOLE_INDEX[..7],
            (Self::Whole, Of::IndexAndRest) => &WHOLE_INDEX,
            (Self::Whole, Of::One) => &WHOLE_ONE,
            (Self::Whole, Of::Several) => &WHOLE_SEVERAL,
            (Self::Count, Of::Index | Of::IndexAndRest) => &COUNT_INDEX,
            (Self::Count, Of::One) => &COUNT_ONE,
            (Self::Count, Of::Several) => &COUNT_SEVERAL,
            (Self::List, Of::Index | Of::IndexAndRest) => &LIST_INDEX,
            (Self::List, Of::One) => &LIST_ONE,
            (Self::List, Of::Several) => &LIST_SEVERAL,
            (Self::Finish, Of::Index) => &FINISH_INDEX,
            (Self::Finish, Of::IndexAndRest) => &FINISH_REST,
            (Self::Finish, Of::One) => &FINISH_ONE,
            (Self::Finish, Of::Several) => &FINISH_SEVERAL,
        }
    }

    /// Quads of rows that a lane reads of a tile.
    pub(super) fn own_quads(self) -> u32 {
        match self {
            Self::Whole | Self::Finish => 4,
            // A slice of the usual length is one tile of 1024 lanes.
            Self::Count | Self::List => 2,
        }
    }

    /// Whether a workgroup has a slice, not a list.
    fn sliced(self) -> bool {
        matches!(self, Self::Count | Self::List)
    }
}

/// How lanes work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) lanes: u32,
    /// Subgroups that a workgroup has at most; 0 where lanes use workgroup memory alone.
    pub(super) subgroups: u32,
}

impl TopRows {
    pub(super) fn form(&self, caps: &Caps, knobs: &Knobs) -> Result<Form> {
        let able = caps.subgroups && caps.subgroup_min >= 4 && caps.subgroup_max <= 128;
        let by_subgroups = match knobs.reduce {
            Some(Reduce::Workgroup) => false,
            None => able,
            Some(_) if able => true,
            Some(_) => {
                let (min, max) = (caps.subgroup_min, caps.subgroup_max);
                let why = format!(
                    "it needs subgroups of 4 to 128 lanes; the device's are {min} to {max}"
                );
                return Err(Error::unsupported(format!("{NAME} by subgroups"), why));
            }
        };
        let form = |lanes: u32| Form {
            lanes,
            subgroups: if by_subgroups { lanes / caps.subgroup_min } else { 0 },
        };
        match knobs.workgroup {
            Some(lanes @ (256 | 512 | 1024)) => Ok(form(lanes)),
            Some(other) => {
                Err(Error::range(format!("lanes of {NAME}"), "256, 512 and 1024", other))
            }
            None => {
                let fits = |form: &Form| {
                    form.lanes <= caps.max_invocations
                        && self.workgroup_bytes(Stage::Finish, *form) <= caps.max_workgroup_bytes
                };
                let wide = [1024, 512].map(form).into_iter().find(fits);
                Ok(wide.unwrap_or(form(256)))
            }
        }
    }

    pub(super) fn operands(&self, caps: &Caps) -> Result<Vec<Operand>> {
        let of = |what: &str| format!("{what} of {NAME}");
        let mut all = vec![
            whole(ROW_MAP, "row map", self.map.words(), caps)?,
            whole(LISTS, &of("lists"), self.lists_len(), caps)?,
            whole(COUNTS, &of("counts"), self.counts_len(), caps)?,
            whole(SCORES, &of("scores"), self.scores_len(), caps)?,
        ];
        if let Ranked::Index { shape, .. } = self.ranked {
            all.push(shape.operand(INDEX_MAP, caps)?);
            all.push(shape.operand(FLAGS, caps)?);
        }
        if self.tail() == Tail::Mean {
            all.push(whole(UNREAD, &of("unread components"), self.unread_len(), caps)?);
            all.push(whole(REST, &of("rest"), self.lists.query_rows().into(), caps)?);
        }
        if self.picked_len() > 0 {
            all.push(whole(PICKED, &of("picked scores"), self.picked_len(), caps)?);
        }
        if self.tops_len() > 0 {
            all.push(whole(TOPS, &of("largest scores"), self.tops_len(), caps)?);
        }
        Ok(all)
    }

    /// As many slices of [`SLICE_ROWS`] as a list has room for, but not more workgroups than are enough.
    pub(super) fn usual_slices(&self) -> u32 {
        let room = self.stride() / SLICE_ROWS;
        let usual = room.min(GROUPS / self.lists.count().max(1)).min(SLICES);
        if usual < 2 { 1 } else { usual.max(self.fewest_slices()) }
    }

    fn fewest_slices(&self) -> u32 {
        self.stride().div_ceil(MOST_ROWS).max(2)
    }

    /// Whether lists can be cut into so many slices.
    pub(super) fn allows(&self, slices: u32) -> bool {
        let fewest = self.fewest_slices();
        slices == 1 || (fewest..=fewest.max(SLICES)).contains(&slices)
    }

    pub(super) fn slices(&self, knobs: &Knobs) -> Result<u32> {
        match knobs.slices {
            None => Ok(self.usual_slices()),
            Some(slices) if self.allows(slices) => Ok(slices),
            Some(slices) => {
                let fewest = self.fewest_slices();
                let limit = format!("1 and {fewest}..={}", fewest.max(SLICES));
                Err(Error::range(format!("slices of {NAME}"), limit, slices))
            }
        }
    }

    /// Headers, counts of slices, candidates of lists, and sums of slices: see `slices.wgsl`.
    fn scratch(&self, slices: u32, caps: &Caps) -> Result<Scratch> {
        let lists = u64::from(self.lists.count());
        let sums = 2 * u64::from(self.lists.queries());
        let of_list = 8 + 3 * u64::from(CACHE);
        let words = lists * (of_list + u64::from(slices) * (u64::from(BINS / 2) + sums));
        let (bytes, limit) = (4 * words, caps.bindable_bytes());
        if bytes > limit {
            let what = format!("counts of slices of {NAME}");
            return Err(Error::BindingTooLarge { what, bytes, limit });
        }
        Ok(Scratch { binding: WORK, offset: 0, bytes })
    }

    pub(super) fn launch(
        &self,
        stage: Stage,
        form: Form,
        slices: u32,
        operands: &[Operand],
        caps: &Caps,
    ) -> Result<Launch> {
        let of = match (self.ranked, self.tail()) {
            (Ranked::Seen { .. }, _) if self.lists.queries() > 1 => Of::Several,
            (Ranked::Seen { .. }, _) => Of::One,
            (Ranked::Index { .. }, Tail::Mean) => Of::IndexAndRest,
            (Ranked::Index { .. }, Tail::None) => Of::Index,
        };
        let bindings = stage.bindings(of);
        let bound = |operand: &&Operand| bindings.iter().any(|b| b.number == operand.binding);
        let operands: Vec<Operand> = operands.iter().filter(bound).copied().collect();
        let scratch = match stage {
            Stage::Whole => Vec::new(),
            _ => vec![self.scratch(slices, caps)?],
        };
        let scratch_bytes = scratch.iter().map(|part| part.bytes).max().unwrap_or(0);
        let needs = Needs {
            subgroups: form.subgroups > 0,
            workgroup_bytes: self.workgroup_bytes(stage, form),
            invocations: form.lanes,
            storage_buffers: bindings.len() as u32 - 1,
            binding_bytes: largest(&operands).max(scratch_bytes),
            ..Needs::default()
        };
        needs.check(NAME, caps)?;
        let groups = u64::from(self.lists.count()) * if stage.sliced() { slices.into() } else { 1 };
        Ok(Launch {
            kernel: NAME,
            variant: if form.subgroups > 0 { "subgroup" } else { "baseline" },
            shader: self.shader(stage, form),
            bindings,
            operands,
            params: bytemuck::bytes_of(&self.params(slices)?).to_vec(),
            grid: linear_grid(NAME, groups, caps.max_groups)?,
            scratch,
            needs,
            traffic: Traffic::default(),
        })
    }
}
