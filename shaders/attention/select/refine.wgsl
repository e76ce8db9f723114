// Counts by their last digit the candidates that begin with both digits found. A team of 32 lanes has a
// block at a time.

@group(0) @binding(5) var<storage, read> report: array<u32>;

fn run(group: u32, lane: Lane) {
    let index = index_of(lane);
    var block = group * params.span;
    let last = min(block + params.span, piece_blocks());
    clear_bins(index);
    while block < last {
        let begin = place_of(block);
        let end = min(last, run_end(begin, block));
        let known = report[report_of(begin.segment) + KEY];
        for (var own = block + index / 32u; own < end; own += 8u) {
            let place = place_of(own);
            let count = candidates_of(place);
            for (var i = index % 32u; i < count; i += 32u) {
                let key = candidate(place, own, i, known >> 21u).key;
                if (key >> 10u) == (known >> 10u) {
                    atomicAdd(&bins[key & 1023u], 1u);
                }
            }
        }
        add_bins(begin.segment, index);
        block = end;
    }
}
