// Adds to the mask the candidates above the key found, and those equal to it where all of them stay.
// Counts what is kept of each block and row, and equal keys of each block and chunk.

@group(0) @binding(3) var<storage, read_write> mask: array<u32>;
@group(0) @binding(4) var<storage, read_write> blocks: array<u32>;
@group(0) @binding(5) var<storage, read_write> report: array<atomic<u32>>;

var<workgroup> team_equal: array<atomic<u32>, TEAMS>;

fn run(group: u32, lane: Lane) {
    let index = index_of(lane);
    let team = index / 32u;
    let place_in_team = index % 32u;
    let block = TEAMS * group + team;
    let busy = block < piece_blocks();
    let place = place_of(min(block, piece_blocks() - 1u));
    if index < TEAMS {
        atomicStore(&team_equal[index], 0u);
    }
    clear_teams(index);
    if busy {
        let at = report_of(place.segment);
        let found = atomicLoad(&report[at + KEY]);
        let all = atomicLoad(&report[at + WANTED]) == atomicLoad(&report[at + EQUAL]);
        let count = candidates_of(place);
        var equal = 0u;
        for (var i = place_in_team; i < count; i += 32u) {
            let one = candidate(place, block, i, found >> 21u);
            if one.key > found || (all && one.key == found) {
                mark(team, one.at);
            }
            equal += u32(one.key == found);
        }
        if equal > 0u {
            atomicAdd(&team_equal[team], equal);
        }
    }
    workgroupBarrier();
    if busy {
        var kept = 0u;
        for (var own = place_in_team; own < BLOCK_WORDS; own += 32u) {
            let word = place.start / 32u + own;
            if word < params.words {
                let at = place.row * params.words + word;
                let more = atomicLoad(&team_words[team * BLOCK_WORDS + own]);
                let bits = mask[at] | more;
                if more != 0u {
                    mask[at] = bits;
                }
                kept += countOneBits(bits);
            }
        }
        atomicAdd(&team_sums[team], kept);
    }
    workgroupBarrier();
    if busy && place_in_team == 0u {
        let kept = atomicLoad(&team_sums[team]);
        let equal = atomicLoad(&team_equal[team]);
        blocks[place.number] = kept;
        atomicAdd(&report[report_kept(place.row)], kept);
        tallies[2u * place.number + 1u] = equal;
        if equal > 0u {
            atomicAdd(&work[chunk_sum(place.segment, place.in_segment / CHUNK)], equal);
        }
    }
}
