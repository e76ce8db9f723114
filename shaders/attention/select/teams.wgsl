// What teams of 32 lanes share, each of which has a block: words of its mask, and sums.

// Tells the chunks' sums from histograms.
@group(0) @binding(6) var<storage, read_write> work: array<atomic<u32>>;

const TEAMS: u32 = 8u;

var<workgroup> team_words: array<atomic<u32>, TEAMS * BLOCK_WORDS>;
var<workgroup> team_sums: array<atomic<u32>, TEAMS>;

fn clear_teams(index: u32) {
    atomicStore(&team_words[index], 0u);
    atomicStore(&team_words[index + 256u], 0u);
    if index < TEAMS {
        atomicStore(&team_sums[index], 0u);
    }
    workgroupBarrier();
}

fn mark(team: u32, at: u32) {
    atomicOr(&team_words[team * BLOCK_WORDS + at / 32u], 1u << (at % 32u));
}

// Where equal keys of a chunk are summed up, of those of a segment.
fn chunk_sum(segment: u32, chunk: u32) -> u32 {
    return params.segments * BINS + segment * params.chunks + chunk;
}
