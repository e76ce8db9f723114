// Writes which keys are above the first digit found, lists those that begin with it and counts them by
// their second.

@group(0) @binding(3) var<storage, read_write> mask: array<u32>;
@group(0) @binding(5) var<storage, read> report: array<u32>;

var<workgroup> taken: atomic<u32>;

fn run(group: u32, lane: Lane) {
    let index = index_of(lane);
    var block = group * params.span;
    let last = min(block + params.span, piece_blocks());
    if index < BLOCK_WORDS {
        atomicStore(&block_words[index], 0u);
    }
    if index == 0u {
        atomicStore(&taken, 0u);
    }
    clear_bins(index);
    while block < last {
        let begin = place_of(block);
        let end = min(last, run_end(begin, block));
        let digit = report[report_of(begin.segment) + KEY] >> 21u;
        for (; block < end; block += 1u) {
            let place = place_of(block);
            let all = scores_of(place, index);
            var keys: array<u32, OWN>;
            var above = 0u;
            var equal = 0u;
            for (var i = 0u; i < OWN; i += 1u) {
                let at = 256u * i + index;
                let there = at < place.count;
                keys[i] = key_at(place, at, all[i]);
                let own = keys[i] >> 21u;
                above |= u32(there && own > digit) << i;
                equal |= u32(there && own == digit) << i;
                tally((keys[i] >> 10u) & (BINS - 1u), there && own == digit, lane);
            }
            if equal != 0u {
                // In any order: what is made of them does not depend on it.
                var slot = atomicAdd(&taken, countOneBits(equal));
                for (var i = 0u; i < OWN; i += 1u) {
                    if ((equal >> i) & 1u) == 1u {
                        if slot < params.slots {
                            candidates[block * params.slots + slot] =
                                (keys[i] << 11u) | (256u * i + index);
                        }
                        slot += 1u;
                    }
                }
            }
            put_flags(above, lane);
            workgroupBarrier();
            if index < BLOCK_WORDS {
                let word = place.start / 32u + index;
                if word < params.words {
                    mask[place.row * params.words + word] = atomicLoad(&block_words[index]);
                }
                atomicStore(&block_words[index], 0u);
            }
            if index == 0u {
                tallies[2u * place.number] = atomicLoad(&taken);
                atomicStore(&taken, 0u);
            }
            workgroupBarrier();
        }
        add_bins(begin.segment, index);
    }
}
