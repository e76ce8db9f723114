//! The launches of a selection.

use super::bindings::{CLASSIFY, CLEAR, COUNT, FIND, REFINE, RESOLVE};
use super::{
    BLOCKS, BUDGETS, CANDIDATES, Cut, MASK, NAME, REPORT, SCORES, SelectPairs, TALLIES, WORK,
};
use crate::attention::places::{largest, whole};
use crate::launch::{
    Access, Binding, Caps, Knobs, Launch, Needs, Operand, Part, Scratch, Shader, Traffic,
    linear_grid, part,
};
use crate::{Error, Result};
use std::ops::Range;

/// Bins of a histogram.
const BINS: u64 = 2048;
/// Blocks of a chunk.
const CHUNK: u64 = 256;
/// Blocks that a workgroup of teams has.
const TEAMS: u64 = 8;
/// Lanes of a workgroup.
const LANES: u64 = 256;
/// Workgroups that count, unless the number of blocks they have is given.
const COUNTING: u64 = 1024;
/// Most candidates of a block that are listed.
const SLOTS: usize = 512;

/// Bytes of workgroup memory: a histogram; words of a block's mask, flags of lanes, a counter; running
/// sums; what teams share.
const HISTOGRAM: u32 = 4 * BINS as u32;
const WORDS: u32 = 4 * 64;
const FLAGS: u32 = 4 * 256;
const SCAN: u32 = 4 * (256 + 16);
const SHARED: u32 = 4 * (8 * 64 + 8);

/// Mirrors `Params` of `select/params.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Params {
    n: u32,
    sink: u32,
    recent_from: u32,
    words: u32,
    first_row: u32,
    rows: u32,
    heads: u32,
    segment_rows: u32,
    stride: u32,
    row_blocks: u32,
    span: u32,
    slots: u32,
    segments: u32,
    chunks: u32,
    strict: u32,
    cleared: u32,
}

/// Sizes of a selection on a device.
struct Sizes<'a> {
    spec: &'a SelectPairs,
    caps: &'a Caps,
    subgroup: Option<u32>,
    /// Blocks that a workgroup counts, where that was given.
    span: Option<u32>,
    /// Chunks of a segment.
    chunks: u64,
    /// Slots for candidates of a block.
    slots: u64,
}

/// One step, of a piece or of all.
struct Step {
    bindings: &'static [Binding],
    preamble: String,
    parts: Vec<Part>,
    workgroup_bytes: u32,
    /// Whether it differs between variants.
    varies: bool,
    groups: u64,
    traffic: Traffic,
}

/// All launches, in order.
pub(super) fn all(spec: &SelectPairs, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
    if knobs.rows == Some(0) {
        return Err(Error::range(format!("blocks of a workgroup of {NAME}"), "1..", 0));
    }
    let segment_blocks = (spec.segment_rows() * spec.row_blocks()) as u64;
    let sizes = Sizes {
        spec,
        caps,
        subgroup: spec.subgroup(caps, knobs)?,
        span: knobs.rows,
        chunks: segment_blocks.div_ceil(CHUNK),
        slots: spec.n.div_ceil(4).next_multiple_of(64).min(SLOTS) as u64,
    };
    let model = 0..spec.layers;
    let mut launches = vec![sizes.launch(sizes.clear(), None, &model)?];
    let pieces: Vec<Range<usize>> = spec.pieces().collect();
    let of_pieces = |step: &dyn Fn(&Range<usize>) -> Step| -> Result<Vec<Launch>> {
        let numbered = pieces.iter().enumerate();
        numbered.map(|(at, piece)| sizes.launch(step(piece), Some(at), piece)).collect()
    };
    let find = |shift, width| sizes.launch(sizes.find(shift, width), None, &model);
    launches.extend(of_pieces(&|piece| sizes.count(piece))?);
    launches.push(find(21, 11)?);
    launches.extend(of_pieces(&|piece| sizes.classify(piece))?);
    launches.push(find(10, 11)?);
    launches.extend(of_pieces(&|piece| sizes.refine(piece))?);
    launches.push(find(0, 10)?);
    let (resolve, finish) =
        (part!("attention/select/resolve.wgsl"), part!("attention/select/finish.wgsl"));
    launches.extend(of_pieces(&|piece| sizes.teams(piece, resolve, 4 * TEAMS as u32))?);
    launches.extend(of_pieces(&|piece| sizes.teams(piece, finish, FLAGS))?);
    Ok(launches)
}

const PARAMS: Part = part!("attention/select/params.wgsl");
const KEYS: Part = part!("attention/select/keys.wgsl");
const LISTS: Part = part!("attention/select/candidates.wgsl");
const BINNED: Part = part!("attention/select/bins.wgsl");
const PLAIN: Part = part!("attention/select/lanes_plain.wgsl");

impl Sizes<'_> {
    /// Words of histograms and of sums of chunks.
    fn work_words(&self) -> u64 {
        self.spec.segment_count() as u64 * (BINS + self.chunks)
    }

    fn blocks(&self, layers: &Range<usize>) -> u64 {
        (layers.len() * self.spec.heads * self.spec.row_blocks()) as u64
    }

    /// Blocks that a workgroup counts.
    fn span(&self, layers: &Range<usize>) -> u64 {
        self.span.map_or(self.blocks(layers).div_ceil(COUNTING).max(1), u64::from)
    }

    fn scores(&self, layers: &Range<usize>) -> u64 {
        (layers.len() * self.spec.heads * self.spec.n) as u64
    }

    fn mask_bytes(&self, layers: &Range<usize>) -> u64 {
        4 * (layers.len() * self.spec.heads * self.spec.row_words()) as u64
    }

    fn lanes(&self) -> [Part; 2] {
        match self.subgroup {
            None => [PLAIN, part!("attention/select/tally_plain.wgsl")],
            Some(_) => [
                part!("attention/select/lanes_subgroup.wgsl"),
                part!("attention/select/tally_subgroup.wgsl"),
            ],
        }
    }

    fn lanes_preamble(&self) -> String {
        self.subgroup.map_or(String::new(), |size| format!("const SUBGROUP: u32 = {size}u;\n"))
    }

    fn clear(&self) -> Step {
        let words = self.work_words().max(self.spec.report_len() as u64);
        Step {
            bindings: &CLEAR,
            preamble: String::new(),
            parts: vec![PARAMS, PLAIN, part!("attention/select/clear.wgsl")],
            workgroup_bytes: 0,
            varies: false,
            groups: words.div_ceil(LANES),
            traffic: Traffic::default(),
        }
    }

    fn count(&self, layers: &Range<usize>) -> Step {
        let [lanes, tally] = self.lanes();
        let count = part!("attention/select/count.wgsl");
        Step {
            bindings: &COUNT,
            preamble: self.lanes_preamble(),
            parts: vec![PARAMS, KEYS, BINNED, lanes, tally, count],
            workgroup_bytes: HISTOGRAM,
            varies: true,
            groups: self.blocks(layers).div_ceil(self.span(layers)),
            traffic: Traffic { read_bytes: 4 * self.scores(layers), ..Traffic::default() },
        }
    }

    fn find(&self, shift: u32, width: u32) -> Step {
        let preamble = format!("const SHIFT: u32 = {shift}u;\nconst WIDTH: u32 = {width}u;\n");
        let scan = part!("lib/scan_workgroup.wgsl");
        Step {
            bindings: &FIND,
            preamble,
            parts: vec![PARAMS, PLAIN, scan, part!("attention/select/find.wgsl")],
            workgroup_bytes: SCAN,
            varies: false,
            groups: self.spec.segment_count() as u64,
            traffic: Traffic::default(),
        }
    }

    fn classify(&self, layers: &Range<usize>) -> Step {
        let [lanes, tally] = self.lanes();
        let (flags, flag_bytes) = match self.subgroup {
            None => (part!("attention/select/flags_plain.wgsl"), FLAGS),
            Some(_) => (part!("attention/select/flags_subgroup.wgsl"), 0),
        };
        let classify = part!("attention/select/classify.wgsl");
        Step {
            bindings: &CLASSIFY,
            preamble: self.lanes_preamble(),
            parts: vec![PARAMS, KEYS, LISTS, BINNED, lanes, tally, flags, classify],
            workgroup_bytes: HISTOGRAM + WORDS + flag_bytes + 4,
            varies: true,
            groups: self.blocks(layers).div_ceil(self.span(layers)),
            traffic: Traffic {
                read_bytes: 4 * self.scores(layers),
                write_bytes: self.mask_bytes(layers),
                flops: 0,
            },
        }
    }

    fn refine(&self, layers: &Range<usize>) -> Step {
        let refine = part!("attention/select/refine.wgsl");
        Step {
            bindings: &REFINE,
            preamble: String::new(),
            parts: vec![PARAMS, KEYS, LISTS, BINNED, PLAIN, refine],
            workgroup_bytes: HISTOGRAM,
            varies: false,
            groups: self.blocks(layers).div_ceil(self.span(layers)),
            traffic: Traffic::default(),
        }
    }

    /// Resolving or finishing, which needs `more` bytes of workgroup memory.
    fn teams(&self, layers: &Range<usize>, step: Part, more: u32) -> Step {
        let mask = self.mask_bytes(layers);
        // What is finished is little: only keys equal to the last one.
        let bytes = if more == FLAGS { 0 } else { mask };
        Step {
            bindings: &RESOLVE,
            preamble: String::new(),
            parts: vec![PARAMS, KEYS, LISTS, part!("attention/select/teams.wgsl"), PLAIN, step],
            workgroup_bytes: SHARED + more,
            varies: false,
            groups: self.blocks(layers).div_ceil(TEAMS),
            traffic: Traffic { read_bytes: bytes, write_bytes: bytes, flops: 0 },
        }
    }

    /// What a tensor that is bound whole needs, and the piece of the scores.
    fn operands(
        &self,
        step: &Step,
        piece: Option<usize>,
        layers: &Range<usize>,
    ) -> Result<Vec<Operand>> {
        let spec = self.spec;
        let mut all = Vec::new();
        for binding in step.bindings.iter().map(|binding| binding.number) {
            let (what, words) = match binding {
                SCORES => ("scores", spec.piece_len(layers.len())),
                BUDGETS => ("budgets", spec.segment_count()),
                MASK => ("mask", spec.mask_len()),
                BLOCKS => ("counts of blocks", spec.blocks_len()),
                REPORT => ("report", spec.report_len()),
                _ => continue,
            };
            let what = format!("{what} of {NAME}");
            let operand = whole(binding, &what, words as u64, self.caps)?;
            // There are no more pieces than layers, and fewer of these than scores.
            let piece = if binding == SCORES { piece.unwrap_or(0) as u32 } else { 0 };
            all.push(Operand { piece, ..operand });
        }
        Ok(all)
    }

    /// Work, then tallies, then the lists of all pieces, one after the other.
    fn scratch(&self, step: &Step, layers: &Range<usize>) -> Result<Vec<Scratch>> {
        let limit = self.caps.bindable_bytes();
        let aligned = |bytes: u64| bytes.next_multiple_of(256);
        let work = 4 * self.work_words();
        let tallies = 8 * self.spec.blocks_len() as u64;
        let lists = aligned(work) + aligned(tallies);
        let list = 4 * self.slots;
        let mut all = Vec::new();
        for binding in step.bindings.iter().map(|binding| binding.number) {
            let (what, offset, bytes) = match binding {
                WORK => ("histograms", 0, work),
                TALLIES => ("tallies", aligned(work), tallies),
                CANDIDATES => {
                    let before = self.blocks(&(0..layers.start)) * list;
                    ("candidates", lists + before, self.blocks(layers) * list)
                }
                _ => continue,
            };
            if bytes > limit {
                let what = format!("{what} of {NAME}");
                return Err(Error::BindingTooLarge { what, bytes, limit });
            }
            all.push(Scratch { binding, offset, bytes });
        }
        Ok(all)
    }

    fn launch(&self, step: Step, piece: Option<usize>, layers: &Range<usize>) -> Result<Launch> {
        let spec = self.spec;
        let operands = self.operands(&step, piece, layers)?;
        let scratch = self.scratch(&step, layers)?;
        // No number of scores, rows or blocks is above u32, and none of these is above the scores but
        // the distance of layers, whose piece fits a binding.
        let params = Params {
            n: spec.n as u32,
            sink: spec.sink.min(spec.n) as u32,
            recent_from: spec.n.saturating_sub(spec.recent) as u32,
            words: spec.row_words() as u32,
            first_row: (layers.start * spec.heads) as u32,
            rows: (layers.len() * spec.heads) as u32,
            heads: spec.heads as u32,
            segment_rows: spec.segment_rows() as u32,
            stride: if layers.len() > 1 { spec.stride as u32 } else { 0 },
            row_blocks: spec.row_blocks() as u32,
            span: self.span(layers).min(self.blocks(layers)) as u32,
            slots: self.slots as u32,
            segments: spec.segment_count() as u32,
            chunks: self.chunks as u32,
            strict: u32::from(spec.cut == Cut::RefStrict),
            cleared: self.work_words() as u32,
        };
        let subgroups = step.varies && self.subgroup.is_some();
        let storage = step.bindings.iter().filter(|b| b.access != Access::Uniform).count();
        let largest_scratch = scratch.iter().map(|part| part.bytes).max().unwrap_or(0);
        let needs = Needs {
            subgroups,
            workgroup_bytes: step.workgroup_bytes,
            invocations: LANES as u32,
            storage_buffers: storage as u32,
            binding_bytes: largest(&operands).max(largest_scratch),
            ..Needs::default()
        };
        needs.check(NAME, self.caps)?;
        let mut parts = step.parts;
        parts.push(part!("attention/select_pairs.wgsl"));
        Ok(Launch {
            kernel: NAME,
            variant: if subgroups { "subgroup" } else { "baseline" },
            shader: Shader { entry: NAME, preamble: step.preamble, parts, constants: Vec::new() },
            bindings: step.bindings,
            operands,
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: linear_grid(NAME, step.groups, self.caps.max_groups)?,
            scratch,
            needs,
            traffic: step.traffic,
        })
    }
}
