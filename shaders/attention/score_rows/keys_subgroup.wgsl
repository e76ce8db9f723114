// Logits by teams of lanes that share a key, as in attend_subgroup.wgsl: ROW_LANES lanes of a subgroup have
// sixteen numbers of it each, and of BLOCK query rows. Teams differ in their block of query rows and then in
// their stripe of keys. Four keys of a team are under way at a time; of their logits a lane stores one.
// Sibling: keys_workgroup.wgsl.
// Expects: const LANES, ROWS, ROW_LANES (a power of two from 4 on, at most the smallest subgroup), BLOCKS of
// query rows (a power of two, at most the teams); subgroups without idle lanes; all.wgsl or listed.wgsl.

struct Lane {
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) place: u32,
    @builtin(subgroup_size) size: u32,
}

const TEAMS: u32 = LANES / ROW_LANES;
const STRIPES: u32 = TEAMS / BLOCKS;
// Keys of a workgroup at a time.
const TILE: u32 = 4u * STRIPES;

fn run(number: u32, lane: Lane) {
    let place = number / params.parts;
    if place >= params.places {
        return;
    }
    // Teams are within subgroups, however lanes are numbered.
    let flat = lane.subgroup * lane.size + lane.place;
    begin(flat);
    let segment = place_of(place);
    let team = flat / ROW_LANES;
    let own = flat % ROW_LANES;
    let first_row = team % BLOCKS * BLOCK;
    let stripe = team / BLOCKS;
    let q = load_queries(segment, first_row, own);
    var q_sum = query_sum(q);
    for (var bit = 1u; bit < ROW_LANES; bit *= 2u) {
        q_sum += subgroupShuffleXor(q_sum, bit);
    }
    var best: array<u32, BLOCK>;
    for (var tile = number % params.parts * TILE; tile < segment.len; tile += params.parts * TILE) {
        let key_0 = tile + stripe;
        let key_1 = key_0 + STRIPES;
        let key_2 = key_1 + STRIPES;
        let key_3 = key_2 + STRIPES;
        // Keys beyond the end are not stored: any row will do.
        let last = segment.len - 1u;
        let row_0 = row_at(segment, min(key_0, last));
        let row_1 = row_at(segment, min(key_1, last));
        let row_2 = row_at(segment, min(key_2, last));
        let row_3 = row_at(segment, min(key_3, last));
        let k_0 = load_key(row_0, own);
        let k_1 = load_key(row_1, own);
        let k_2 = load_key(row_2, own);
        let k_3 = load_key(row_3, own);
        let codec_0 = key_codec(row_0);
        let codec_1 = key_codec(row_1);
        let codec_2 = key_codec(row_2);
        let codec_3 = key_codec(row_3);
        var x_0 = dots(q, k_0, own);
        var x_1 = dots(q, k_1, own);
        var x_2 = dots(q, k_2, own);
        var x_3 = dots(q, k_3, own);
        for (var bit = 1u; bit < ROW_LANES; bit *= 2u) {
            x_0 += subgroupShuffleXor(x_0, bit);
            x_1 += subgroupShuffleXor(x_1, bit);
            x_2 += subgroupShuffleXor(x_2, bit);
            x_3 += subgroupShuffleXor(x_3, bit);
        }
        var x = logit(dot_of(x_0, q_sum, codec_0));
        x = select(x, logit(dot_of(x_1, q_sum, codec_1)), own == 1u);
        x = select(x, logit(dot_of(x_2, q_sum, codec_2)), own == 2u);
        x = select(x, logit(dot_of(x_3, q_sum, codec_3)), own == 3u);
        let key = key_0 + own * STRIPES;
        if own < 4u && key <= last {
            for (var r = 0u; r < BLOCK; r += 1u) {
                if first_row + r < ROWS {
                    let image = store(segment, first_row + r, key, row_value(x, r));
                    best[r] = max(best[r], image);
                }
            }
        }
    }
    for (var r = 0u; r < BLOCK; r += 1u) {
        if first_row + r < ROWS {
            tell(first_row + r, best[r]);
        }
    }
    finish(segment, flat);
}
