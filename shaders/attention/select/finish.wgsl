// Of equal keys of which not all stay, the first of the segment: as many of a block as those before it
// leave.

@group(0) @binding(3) var<storage, read_write> mask: array<u32>;
@group(0) @binding(4) var<storage, read_write> blocks: array<u32>;
@group(0) @binding(5) var<storage, read_write> report: array<atomic<u32>>;

var<workgroup> lane_counts: array<u32, 256>;

// The lowest `count` bits that are set.
fn lowest(word: u32, count: u32) -> u32 {
    var rest = word;
    for (var i = 0u; i < min(count, countOneBits(word)); i += 1u) {
        rest &= rest - 1u;
    }
    return word ^ rest;
}

fn run(group: u32, lane: Lane) {
    let index = index_of(lane);
    let team = index / 32u;
    let place_in_team = index % 32u;
    let block = TEAMS * group + team;
    let place = place_of(min(block, piece_blocks() - 1u));
    let at = report_of(place.segment);
    let found = atomicLoad(&report[at + KEY]);
    let wanted = atomicLoad(&report[at + WANTED]);
    let equal = tallies[2u * place.number + 1u];
    let some = wanted > 0u && wanted < atomicLoad(&report[at + EQUAL]);
    let busy = block < piece_blocks() && some && equal > 0u;
    clear_teams(index);
    if busy {
        // Equal keys of the chunks before, and of the blocks before in its own.
        let chunk = place.in_segment / CHUNK;
        var before = 0u;
        for (var other = place_in_team; other < chunk; other += 32u) {
            before += atomicLoad(&work[chunk_sum(place.segment, other)]);
        }
        for (var other = place_in_team; other < place.in_segment % CHUNK; other += 32u) {
            before += tallies[2u * (place.number - 1u - other) + 1u];
        }
        atomicAdd(&team_sums[team], before);
        let count = candidates_of(place);
        for (var i = place_in_team; i < count; i += 32u) {
            let one = candidate(place, block, i, found >> 21u);
            if one.key == found {
                mark(team, one.at);
            }
        }
    }
    workgroupBarrier();
    // Neighbouring words of a lane, so that their order is that of lanes.
    let own = team * BLOCK_WORDS + 2u * place_in_team;
    let low = atomicLoad(&team_words[own]);
    let high = atomicLoad(&team_words[own + 1u]);
    lane_counts[index] = countOneBits(low) + countOneBits(high);
    let before = atomicLoad(&team_sums[team]);
    let left = min(max(wanted, before) - before, equal);
    workgroupBarrier();
    if busy && left > 0u {
        var ahead = 0u;
        for (var other = 32u * team; other < index; other += 1u) {
            ahead += lane_counts[other];
        }
        let mine = max(left, ahead) - ahead;
        let taken_low = lowest(low, mine);
        let taken_high = lowest(high, mine - countOneBits(taken_low));
        let word = place.row * params.words + place.start / 32u + 2u * place_in_team;
        if taken_low != 0u {
            mask[word] |= taken_low;
        }
        if taken_high != 0u {
            mask[word + 1u] |= taken_high;
        }
        if place_in_team == 0u {
            blocks[place.number] += left;
            atomicAdd(&report[report_kept(place.row)], left);
        }
    }
}
