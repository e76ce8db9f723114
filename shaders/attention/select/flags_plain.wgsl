// Flags of a block's keys as words of its mask, turned in workgroup memory: bit `i` of lane `index` is
// that of key `256 i + index`. Sibling: flags_subgroup.wgsl.

var<workgroup> block_words: array<atomic<u32>, BLOCK_WORDS>;
var<workgroup> lane_flags: array<u32, 256>;

// Sets bits of words that are 0. To be called by all lanes; the words are there after a barrier.
fn put_flags(flags: u32, lane: Lane) {
    lane_flags[lane.index] = flags;
    workgroupBarrier();
    // Four lanes make a word, a byte each.
    let word = lane.index / 4u;
    let first = word % 8u * 32u + lane.index % 4u * 8u;
    var byte = 0u;
    for (var i = 0u; i < 8u; i += 1u) {
        byte |= ((lane_flags[first + i] >> (word / 8u)) & 1u) << i;
    }
    if byte != 0u {
        atomicOr(&block_words[word], byte << (lane.index % 4u * 8u));
    }
}
