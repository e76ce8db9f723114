// The key of the last row that is wanted. Few keys of the bin in question are compared with each other; where
// they are many, their digits are counted as those of a radix selection.
// Expects: bins.wgsl.

var<workgroup> cached: array<u32, CACHE>;
var<workgroup> cached_count: atomic<u32>;

// The last key, and how many rows that have it are wanted.
struct Cut {
    key: u32,
    quota: u32,
}

// Which digits of keys are known already, and which are counted.
struct Digit {
    mask: u32,
    known: u32,
    shift: u32,
}

fn count_digits(span: Span, bins: Bins, bin: u32, digit: Digit, index: u32) {
    let last = last_quad(span);
    for (var quad = span.first / 4u + index; quad <= last; quad += LANES) {
        let ranks = ranks_at(span.list, quad);
        let keys = keys_of(ranks);
        let same = (keys & vec4<u32>(digit.mask)) == vec4<u32>(digit.known);
        let there = counted(span, bins, quad, ranks);
        let own = there & same & (bins_of(bins, ranks) == vec4<u32>(bin));
        for (var i = 0u; i < 4u; i += 1u) {
            if own[i] {
                // The last digit has ten bits only, and those above it are known.
                atomicAdd(&words[((keys[i] & ~digit.mask) >> digit.shift) & (BINS - 1u)], 1u);
            }
        }
    }
}

// The last of `wanted` rows of a span, of at least one and fewer than it has. To be called by all lanes.
fn cut_of(span: Span, wanted: u32, lane: Lane) -> Cut {
    let index = index_of(lane);
    if index == 0u {
        atomicStore(&cached_count, 0u);
    }
    var both = make_bins(span, wanted, lane);
    let start = span.first / 4u;
    let last = last_quad(span);
    var bins = both[0];
    count_ranks(span, bins, index);
    var bin = find(wanted, lane);
    if bin.w == 0u {
        // The sample was not like the others.
        bins = both[1];
        clear_bins(index);
        count_ranks(span, bins, index);
        bin = find(wanted, lane);
    }
    var left = wanted - bin.y;
    if bin.z <= CACHE {
        for (var tile = start; tile <= last; tile += AHEAD * LANES) {
            var all: array<vec4<f32>, AHEAD>;
            for (var i = 0u; i < AHEAD; i += 1u) {
                all[i] = ranks_at(span.list, min(tile + i * LANES + index, last));
            }
            for (var i = 0u; i < AHEAD; i += 1u) {
                let there = counted(span, bins, tile + i * LANES + index, all[i]);
                let own = there & (bins_of(bins, all[i]) == vec4<u32>(bin.x));
                if any(own) {
                    let keys = keys_of(all[i]);
                    for (var c = 0u; c < 4u; c += 1u) {
                        if own[c] {
                            cached[min(atomicAdd(&cached_count, 1u), CACHE - 1u)] = keys[c];
                        }
                    }
                }
            }
        }
        workgroupBarrier();
        for (var i = index; i < bin.z; i += LANES) {
            let own = cached[i];
            var above = 0u;
            var equal = 0u;
            var first = true;
            for (var j = 0u; j < bin.z; j += 1u) {
                let other = cached[j];
                above += u32(other > own);
                equal += u32(other == own);
                first = first && (other != own || j >= i);
            }
            // Of equal ones one tells.
            if first && above < left && left <= above + equal {
                found = vec4<u32>(own, left - above, 0u, 0u);
            }
        }
        let cut = workgroupUniformLoad(&found);
        return Cut(cut.x, cut.y);
    }
    var digit = Digit(0u, 0u, 21u);
    for (var turn = 0u; turn < 3u; turn += 1u) {
        clear_bins(index);
        count_digits(span, bins, bin.x, digit, index);
        let own = find(left, lane);
        left -= own.y;
        digit.known |= own.x << digit.shift;
        digit.mask |= (BINS - 1u) << digit.shift;
        digit.shift = select(0u, 10u, turn == 0u);
    }
    return Cut(digit.known, left);
}
