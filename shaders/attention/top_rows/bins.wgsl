// How many ranks there are of what size. They are counted in bins of equal width between the lowest and the
// highest of some of them, because their exponents are nearly all alike: bins of the bits themselves would
// make lanes wait for each other. The sample also tells below which rank few are wanted: those are not
// counted, unless too few are left. A rank's bin never falls as the rank rises, however it is rounded, so what
// is found is exact whatever the bins are.
// Expects: keys.wgsl, a part with ranks_at, one with scan, const LANES, OWN, quads of rows that a lane reads of
// a tile.

const BINS: u32 = 2048u;
// Bins of a lane.
const EACH: u32 = BINS / LANES;
// Keys of a bin that are compared with each other at most.
const CACHE: u32 = 512u;
// Quads of ranks that are under way at a time.
const AHEAD: u32 = 4u;
// Bins, then what rows of a tile are.
const WORDS: u32 = max(BINS, OWN * LANES);

var<workgroup> words: array<atomic<u32>, WORDS>;
var<workgroup> lowest: atomic<u32>;
var<workgroup> highest: atomic<u32>;
var<workgroup> found: vec4<u32>;

// Rows `first .. end`, of which ranks are.
struct Span {
    list: u32,
    first: u32,
    end: u32,
}

struct Bins {
    low: f32,
    high: f32,
    // Bins of a unit.
    scale: f32,
    // What is below is not counted; all is where this is the lowest number.
    least: f32,
}

const LOWEST: f32 = -3.4e38;

fn rows_of(quad: u32) -> vec4<u32> {
    return vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
}

fn within(span: Span, quad: u32) -> vec4<bool> {
    let rows = rows_of(quad);
    return (rows >= vec4<u32>(span.first)) & (rows < vec4<u32>(span.end));
}

fn last_quad(span: Span) -> u32 {
    return (span.end - 1u) / 4u;
}

fn clear_bins(index: u32) {
    for (var bin = index; bin < BINS; bin += LANES) {
        atomicStore(&words[bin], 0u);
    }
    workgroupBarrier();
}

// Of bins from the largest down the one in which the wanted number is reached: its number, how many are in
// larger ones, how many are in it, and 1; the last is 0 where it is not reached. To be called by all lanes,
// once all have counted.
fn find(wanted: u32, lane: Lane) -> vec4<u32> {
    if index_of(lane) == 0u {
        found = vec4<u32>(0u);
    }
    workgroupBarrier();
    let first = BINS - 1u - EACH * index_of(lane);
    var counts: array<u32, EACH>;
    var own = 0u;
    for (var i = 0u; i < EACH; i += 1u) {
        counts[i] = atomicLoad(&words[first - i]);
        own += counts[i];
    }
    var above = scan(own, lane).before;
    for (var i = 0u; i < EACH; i += 1u) {
        if above < wanted && wanted <= above + counts[i] {
            found = vec4<u32>(first - i, above, counts[i], 1u);
        }
        above += counts[i];
    }
    return workgroupUniformLoad(&found);
}

// Equal bins from one number to another, and what is counted.
fn bins_between(low: f32, high: f32, least: f32) -> Bins {
    let width = high - low;
    let some = width > 1e-30 && width < 3e38;
    let scale = select(0.0, f32(BINS - 1u) / select(1.0, width, some), some);
    return Bins(low, high, scale, least);
}

// Bins between the finite extremes of a quad of each lane, evenly spread: the second ones. The first ones
// begin where so few of the sample are above that about twice as many rows as are wanted are counted.
fn make_bins(span: Span, wanted: u32, lane: Lane) -> array<Bins, 2> {
    let index = index_of(lane);
    if index == 0u {
        atomicStore(&lowest, 0xffffffffu);
        atomicStore(&highest, 0u);
    }
    clear_bins(index);
    let first = span.first / 4u;
    let step = max((last_quad(span) + 1u - first) / LANES, 1u);
    let quad = min(first + index * step, last_quad(span));
    let ranks = ranks_at(span.list, quad);
    let keys = keys_of(ranks);
    let finite = (bitcast<vec4<u32>>(ranks) & vec4<u32>(0x7f800000u)) != vec4<u32>(0x7f800000u);
    let own_quad = vec4<bool>(first + index * step <= last_quad(span));
    let there = within(span, quad) & finite & own_quad;
    let lows = select(vec4<u32>(0xffffffffu), keys, there);
    let highs = select(vec4<u32>(0u), keys, there);
    let least = lowest_of(min(min(lows.x, lows.y), min(lows.z, lows.w)));
    let most = highest_of(max(max(highs.x, highs.y), max(highs.z, highs.w)));
    if tells(lane) {
        atomicMin(&lowest, least);
        atomicMax(&highest, most);
    }
    workgroupBarrier();
    let none = atomicLoad(&highest) == 0u;
    let low = select(number_of(atomicLoad(&lowest)), 0.0, none);
    let high = select(number_of(atomicLoad(&highest)), 0.0, none);
    let all = bins_between(low, high, LOWEST);
    let own = bins_of(all, ranks);
    for (var c = 0u; c < 4u; c += 1u) {
        if there[c] {
            atomicAdd(&words[own[c]], 1u);
        }
    }
    // Of rows as many as a quad of a lane stands for, and a few more for luck.
    let share = f32(4u * LANES) / f32(span.end - span.first);
    let bin = find(u32(min(1.25 * share, 1.0) * f32(wanted)) + 32u, lane);
    clear_bins(index);
    let start = low + f32(bin.x) / max(all.scale, 1e-30);
    let above = select(low, start, bin.w == 1u && start > low && start < high);
    return array<Bins, 2>(bins_between(above, high, above), all);
}

fn bins_of(bins: Bins, ranks: vec4<f32>) -> vec4<u32> {
    let high = vec4<f32>(bins.high);
    let inside = clamp(select(ranks, high, is_nan(ranks)), vec4<f32>(bins.low), high);
    let place = (inside - vec4<f32>(bins.low)) * vec4<f32>(bins.scale);
    return min(vec4<u32>(place), vec4<u32>(BINS - 1u));
}

// Which of four ranks are counted: NaN is.
fn counted(span: Span, bins: Bins, quad: u32, ranks: vec4<f32>) -> vec4<bool> {
    let low = (ranks < vec4<f32>(bins.least)) & vec4<bool>(bins.least > LOWEST);
    return within(span, quad) & !low;
}

fn count_ranks(span: Span, bins: Bins, index: u32) {
    let last = last_quad(span);
    for (var tile = span.first / 4u; tile <= last; tile += AHEAD * LANES) {
        var all: array<vec4<f32>, AHEAD>;
        for (var i = 0u; i < AHEAD; i += 1u) {
            all[i] = ranks_at(span.list, min(tile + i * LANES + index, last));
        }
        for (var i = 0u; i < AHEAD; i += 1u) {
            let there = counted(span, bins, tile + i * LANES + index, all[i]);
            let own = bins_of(bins, all[i]);
            for (var c = 0u; c < 4u; c += 1u) {
                if there[c] {
                    atomicAdd(&words[own[c]], 1u);
                }
            }
        }
    }
}
