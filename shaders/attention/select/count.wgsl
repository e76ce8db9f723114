// Counts keys by their first digit, and NaN among the scores.

@group(0) @binding(5) var<storage, read_write> report: array<atomic<u32>>;

fn run(group: u32, lane: Lane) {
    let index = index_of(lane);
    var block = group * params.span;
    let last = min(block + params.span, piece_blocks());
    clear_bins(index);
    var nans = 0u;
    while block < last {
        let begin = place_of(block);
        let end = min(last, run_end(begin, block));
        for (; block < end; block += 1u) {
            let place = place_of(block);
            let all = scores_of(place, index);
            for (var i = 0u; i < OWN; i += 1u) {
                let at = 256u * i + index;
                let there = at < place.count;
                tally(key_at(place, at, all[i]) >> 21u, there, lane);
                nans += u32(there && is_nan(all[i]));
            }
        }
        add_bins(begin.segment, index);
    }
    if nans > 0u {
        atomicAdd(&report[0], nans);
    }
}
