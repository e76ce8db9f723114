// The first of three launches: the ranks of a slice are counted in bins, the same ones in all slices of a list.
// Expects: slices.wgsl.

@group(0) @binding(28) var<storage, read_write> work: array<u32>;

// To be called by all lanes, with the number of their workgroup.
fn make(number: u32, lane: Lane) {
    let list = number / params.slices;
    if list >= params.lists {
        return;
    }
    let slice = number % params.slices;
    let index = index_of(lane);
    let asked = asked_of(list);
    if asked.plain || asked.taken == 0u {
        return;
    }
    // The sample is of the whole list.
    var both = make_bins(Span(list, asked.first, asked.covered), asked.taken, lane);
    let bins = both[0];
    let span = slice_of(asked, slice);
    if span.first < span.end {
        count_ranks(span, bins, index);
    }
    workgroupBarrier();
    let at = counts_at(list, slice);
    for (var pair = index; pair < PAIRS; pair += LANES) {
        // A slice has fewer than 2^16 rows.
        work[at + pair] = atomicLoad(&words[2u * pair]) | (atomicLoad(&words[2u * pair + 1u]) << 16u);
    }
    if slice == 0u && index == 0u {
        work[HEADER * list] = bitcast<u32>(bins.low);
        work[HEADER * list + 1u] = bitcast<u32>(bins.high);
        work[HEADER * list + 2u] = bitcast<u32>(bins.scale);
        work[HEADER * list + 3u] = bitcast<u32>(bins.least);
    }
}
