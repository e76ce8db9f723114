//! What each launch binds.

use crate::launch::{Access, Binding};

/// Number of the scores' binding.
pub const SCORES: u32 = 1;
/// Number of the budgets' binding.
pub const BUDGETS: u32 = 2;
/// Number of the mask's binding.
pub const MASK: u32 = 3;
/// Number of the binding of what is kept of each block.
pub const BLOCKS: u32 = 4;
/// Number of the report's binding.
pub const REPORT: u32 = 5;
/// Number of the binding of histograms and sums, scratch memory.
pub const WORK: u32 = 6;
/// Number of the binding of lists of candidates, scratch memory.
pub const CANDIDATES: u32 = 7;
/// Number of the binding of counts of blocks, scratch memory.
pub const TALLIES: u32 = 8;

const PARAMS: Binding = Binding::new(0, "params", Access::Uniform);
const SCORES_READ: Binding = Binding::new(SCORES, "scores", Access::Read);
const BUDGETS_READ: Binding = Binding::new(BUDGETS, "budgets", Access::Read);
const MASK_WRITTEN: Binding = Binding::new(MASK, "mask", Access::ReadWrite);
const BLOCKS_WRITTEN: Binding = Binding::new(BLOCKS, "blocks", Access::ReadWrite);
const REPORT_READ: Binding = Binding::new(REPORT, "report", Access::Read);
const REPORT_WRITTEN: Binding = Binding::new(REPORT, "report", Access::ReadWrite);
// All scratch memory may be one buffer, so none of it is bound as read where some is written.
const WORK_WRITTEN: Binding = Binding::new(WORK, "work", Access::ReadWrite);
const CANDIDATES_WRITTEN: Binding = Binding::new(CANDIDATES, "candidates", Access::ReadWrite);
const TALLIES_WRITTEN: Binding = Binding::new(TALLIES, "tallies", Access::ReadWrite);

pub(super) static CLEAR: [Binding; 3] = [PARAMS, REPORT_WRITTEN, WORK_WRITTEN];
pub(super) static COUNT: [Binding; 4] = [PARAMS, SCORES_READ, REPORT_WRITTEN, WORK_WRITTEN];
pub(super) static FIND: [Binding; 4] = [PARAMS, BUDGETS_READ, REPORT_WRITTEN, WORK_WRITTEN];
pub(super) static CLASSIFY: [Binding; 7] = [
    PARAMS,
    SCORES_READ,
    MASK_WRITTEN,
    REPORT_READ,
    WORK_WRITTEN,
    CANDIDATES_WRITTEN,
    TALLIES_WRITTEN,
];
pub(super) static REFINE: [Binding; 6] =
    [PARAMS, SCORES_READ, REPORT_READ, WORK_WRITTEN, CANDIDATES_WRITTEN, TALLIES_WRITTEN];
pub(super) static RESOLVE: [Binding; 8] = [
    PARAMS,
    SCORES_READ,
    MASK_WRITTEN,
    BLOCKS_WRITTEN,
    REPORT_WRITTEN,
    WORK_WRITTEN,
    CANDIDATES_WRITTEN,
    TALLIES_WRITTEN,
];
