// Flags of a block's keys as words of its mask, by ballots: bit `i` of lane `index` is that of key
// `256 i + index`. Sibling: flags_plain.wgsl.

var<workgroup> block_words: array<atomic<u32>, BLOCK_WORDS>;

// Words that a ballot fills, or one of which it fills a part.
const BALLOT_WORDS: u32 = (SUBGROUP + 31u) / 32u;

// Sets bits of words that are 0. To be called by all lanes; the words are there after a barrier.
fn put_flags(flags: u32, lane: Lane) {
    let first = lane.subgroup * SUBGROUP;
    for (var i = 0u; i < OWN; i += 1u) {
        let ballot = subgroupBallot(((flags >> i) & 1u) == 1u);
        if lane.place < BALLOT_WORDS {
            let bits = ballot[lane.place] << (first % 32u);
            atomicOr(&block_words[8u * i + first / 32u + lane.place], bits);
        }
    }
}
