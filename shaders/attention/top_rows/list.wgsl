// The second of three launches: a slice's rows of bins above the last one are listed, as if none of the last
// one were, and those of the last bin are kept apart.
// Expects: slices.wgsl, tile.wgsl, a part with nothing and leave.

@group(0) @binding(28) var<storage, read_write> work: array<u32>;
// [lists].
@group(0) @binding(20) var<storage, read_write> counts: array<vec4<u32>>;

// Slices whose counts are under way at a time.
const SLICES_AHEAD: u32 = 8u;
const LANE_PAIRS: u32 = PAIRS / LANES;

// Rows of the last bin in lower slices.
var<workgroup> same_before: u32;

// Adds up the counts of all slices, and returns those of lower ones than `slice`, of the pairs that a lane has.
fn add_counts(list: u32, slice: u32, index: u32) -> array<vec2<u32>, LANE_PAIRS> {
    var before: array<vec2<u32>, LANE_PAIRS>;
    for (var i = 0u; i < LANE_PAIRS; i += 1u) {
        let pair = i * LANES + index;
        var sum = vec2<u32>(0u);
        for (var first = 0u; first < params.slices; first += SLICES_AHEAD) {
            var all: array<u32, SLICES_AHEAD>;
            for (var s = 0u; s < SLICES_AHEAD; s += 1u) {
                all[s] = work[counts_at(list, min(first + s, params.slices - 1u)) + pair];
            }
            for (var s = 0u; s < SLICES_AHEAD; s += 1u) {
                let own = select(0u, all[s], first + s < params.slices);
                let both = vec2<u32>(own & 0xffffu, own >> 16u);
                sum += both;
                before[i] += select(vec2<u32>(0u), both, first + s < slice);
            }
        }
        atomicStore(&words[2u * pair], sum.x);
        atomicStore(&words[2u * pair + 1u], sum.y);
    }
    return before;
}

fn keep(list: u32, number: u32, candidate: Candidate) {
    let at = candidate_at(list, number);
    work[at] = candidate.key;
    work[at + 1u] = candidate.row;
    work[at + 2u] = candidate.place;
}

// To be called by all lanes, with the number of their workgroup.
fn make(number: u32, lane: Lane) {
    let list = number / params.slices;
    if list >= params.lists {
        return;
    }
    let slice = number % params.slices;
    let index = index_of(lane);
    let asked = asked_of(list);
    if slice == 0u && index == 0u {
        counts[list] = counts_of(asked);
    }
    let span = slice_of(asked, slice);
    var beside = nothing();
    if asked.taken == 0u && !asked.plain {
        beside = pass_all(beside, span, index);
        leave(beside, list, slice, lane);
        return;
    }
    if asked.plain {
        let end = min(span.end, asked.first + asked.taken);
        for (var row = span.first + index; row < end; row += LANES) {
            beside = put_row(beside, asked, asked.there + row - asked.first, row);
        }
        return;
    }
    let header = HEADER * list;
    let bins = Bins(
        bitcast<f32>(work[header]),
        bitcast<f32>(work[header + 1u]),
        bitcast<f32>(work[header + 2u]),
        bitcast<f32>(work[header + 3u]),
    );
    var before = add_counts(list, slice, index);
    let bin = find(asked.taken, lane);
    // Otherwise one workgroup does it all.
    let good = bin.w == 1u && bin.z <= CACHE;
    if slice == 0u && index == 0u {
        work[header + 4u] = u32(good);
        work[header + 5u] = bin.y;
        work[header + 6u] = bin.z;
    }
    if !good {
        return;
    }
    var own_above = 0u;
    for (var i = 0u; i < LANE_PAIRS; i += 1u) {
        let low = 2u * (i * LANES + index);
        own_above += select(0u, before[i].x, low > bin.x) + select(0u, before[i].y, low + 1u > bin.x);
        if bin.x / 2u == low / 2u {
            same_before = select(before[i].x, before[i].y, bin.x != low);
        }
    }
    let above_before = scan(own_above, lane).all;
    // Rows above the bin, and in it, so far.
    var above = above_before;
    var same = workgroupUniformLoad(&same_before);
    if span.first < span.end {
        let last = last_quad(span);
        for (var tile = span.first / 4u; tile <= last; tile += OWN * LANES) {
            var all: array<vec4<f32>, OWN>;
            for (var i = 0u; i < OWN; i += 1u) {
                all[i] = ranks_at(list, min(tile + i * LANES + index, last));
            }
            // Before others' words of the last tile, and before bins.
            workgroupBarrier();
            for (var i = 0u; i < OWN; i += 1u) {
                let quad = i * LANES + index;
                let there = counted(span, bins, tile + quad, all[i]);
                let own = bins_of(bins, all[i]);
                tell(quad, there & (own > vec4<u32>(bin.x)), there & (own == vec4<u32>(bin.x)));
            }
            let own = own_rows(lane);
            var place = above + (own.sum.before & 0xffffu);
            var candidate = same + (own.sum.before >> 16u);
            above += own.sum.all & 0xffffu;
            same += own.sum.all >> 16u;
            for (var rows = own.higher | own.same; rows != 0u; rows &= rows - 1u) {
                let bit = countTrailingZeros(rows);
                let row = 4u * (tile + OWN * index) + bit;
                if ((own.higher >> bit) & 1u) != 0u {
                    put(list, asked.there + place, row);
                    place += 1u;
                } else if candidate < CACHE {
                    let key = keys_of(ranks_at(list, row / 4u))[row % 4u];
                    keep(list, candidate, Candidate(key, row, place));
                    candidate += 1u;
                }
            }
            for (var i = 0u; i < OWN; i += 1u) {
                let quad = tile + OWN * index + i;
                let which = others(span, quad, i, own.higher | own.same);
                beside = passed(beside, list, min(quad, last), which);
            }
        }
    }
    storageBarrier();
    for (var at = asked.there + above_before + index; at < asked.there + above; at += LANES) {
        beside = put_row(beside, asked, at, lists[list * params.capacity + at]);
    }
    leave(beside, list, slice, lane);
}
