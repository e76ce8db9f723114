// Attention to a segment in registers. ROW_LANES lanes of a subgroup, a team, share a key: each has
// sixteen numbers of it, and of BLOCK query rows. Teams differ in their block of query rows and then in
// their stripe of keys; those of one key are neighbours, so that its bytes come once. Four keys of a team
// are under way at a time, and no barrier until the end, when the stripes are put together.
// Sibling: attend_workgroup.wgsl.
// Expects: const LANES, ROW_LANES (a power of two, at most the smallest subgroup), BLOCKS of query
// rows (a power of two, at most the teams); subgroups without idle lanes.

struct Lane {
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) place: u32,
    @builtin(subgroup_size) size: u32,
}

const TEAMS: u32 = LANES / ROW_LANES;
const STRIPES: u32 = TEAMS / BLOCKS;

struct Seen {
    starts: RowNumbers,
    ends: RowNumbers,
}

var<workgroup> team_tops: array<Rows, TEAMS>;
var<workgroup> team_sums: array<Rows, TEAMS>;
var<workgroup> block_sums: array<Rows, BLOCKS>;
// A quad of every lane's totals: [BLOCK, LANES].
var<workgroup> lane_totals: array<vec4<f32>, BLOCK * LANES>;

fn load_seen(segment: Segment, first_row: u32) -> Seen {
    var all: Seen;
    for (var r = 0u; r < BLOCK; r += 1u) {
        let span = seen(segment, min(first_row + r, ROWS - 1u));
        let own = is_row(r);
        all.starts = select(all.starts, RowNumbers(span.start), own);
        all.ends = select(all.ends, RowNumbers(span.end), own);
    }
    return all;
}

fn sees(all: Seen, head: u32, key: u32) -> RowTests {
    return (RowNumbers(key) >= all.starts) & (RowNumbers(key) < all.ends) & RowTests(stays(head, key));
}

fn attend(segment: Segment, lane: Lane) {
    // Teams are within subgroups, however lanes are numbered.
    let flat = lane.subgroup * lane.size + lane.place;
    let team = flat / ROW_LANES;
    let place = flat % ROW_LANES;
    let first_row = team % BLOCKS * BLOCK;
    let stripe = team / BLOCKS;
    let q = load_queries(segment, first_row, place);
    var q_sum = query_sum(q);
    for (var bit = 1u; bit < ROW_LANES; bit *= 2u) {
        q_sum += subgroupShuffleXor(q_sum, bit);
    }
    let all = load_seen(segment, first_row);
    var top = Rows(NO_KEY);
    var sum = Rows(0.0);
    var o: Sixteen;
    // What all numbers of o have besides.
    var zero = Rows(0.0);
    for (var tile = segment.start; tile < segment.end; tile += 4u * STRIPES) {
        let key_0 = tile + stripe;
        let key_1 = key_0 + STRIPES;
        let key_2 = key_1 + STRIPES;
        let key_3 = key_2 + STRIPES;
        // Keys beyond the end have no weight: any row will do.
        let last = segment.end - 1u;
        let row_0 = tensor_row(segment, min(key_0, last));
        let row_1 = tensor_row(segment, min(key_1, last));
        let row_2 = tensor_row(segment, min(key_2, last));
        let row_3 = tensor_row(segment, min(key_3, last));
        let k_0 = load_key(row_0, place);
        let k_1 = load_key(row_1, place);
        let k_2 = load_key(row_2, place);
        let k_3 = load_key(row_3, place);
        let v_0 = load_value(row_0, place);
        let v_1 = load_value(row_1, place);
        let v_2 = load_value(row_2, place);
        let v_3 = load_value(row_3, place);
        let codec_0 = key_codec(row_0);
        let codec_1 = key_codec(row_1);
        let codec_2 = key_codec(row_2);
        let codec_3 = key_codec(row_3);
        var x_0 = dots(q, k_0, place);
        var x_1 = dots(q, k_1, place);
        var x_2 = dots(q, k_2, place);
        var x_3 = dots(q, k_3, place);
        for (var bit = 1u; bit < ROW_LANES; bit *= 2u) {
            x_0 += subgroupShuffleXor(x_0, bit);
            x_1 += subgroupShuffleXor(x_1, bit);
            x_2 += subgroupShuffleXor(x_2, bit);
            x_3 += subgroupShuffleXor(x_3, bit);
        }
        let sees_0 = sees(all, segment.head, key_0);
        let sees_1 = sees(all, segment.head, key_1);
        let sees_2 = sees(all, segment.head, key_2);
        let sees_3 = sees(all, segment.head, key_3);
        x_0 = select(Rows(NO_KEY), logit(dot_of(x_0, q_sum, codec_0)), sees_0);
        x_1 = select(Rows(NO_KEY), logit(dot_of(x_1, q_sum, codec_1)), sees_1);
        x_2 = select(Rows(NO_KEY), logit(dot_of(x_2, q_sum, codec_2)), sees_2);
        x_3 = select(Rows(NO_KEY), logit(dot_of(x_3, q_sum, codec_3)), sees_3);
        let before = top;
        top = max(max(top, max(x_0, x_1)), max(x_2, x_3));
        let shrink = exp2(before - top);
        let w_0 = select(Rows(0.0), exp2(x_0 - top), sees_0);
        let w_1 = select(Rows(0.0), exp2(x_1 - top), sees_1);
        let w_2 = select(Rows(0.0), exp2(x_2 - top), sees_2);
        let w_3 = select(Rows(0.0), exp2(x_3 - top), sees_3);
        sum = fma(sum, shrink, (w_0 + w_1) + (w_2 + w_3));
        let scale_0 = value_codec(row_0);
        let scale_1 = value_codec(row_1);
        let scale_2 = value_codec(row_2);
        let scale_3 = value_codec(row_3);
        let zero_01 = zero_weight(w_0, scale_0) + zero_weight(w_1, scale_1);
        let zero_23 = zero_weight(w_2, scale_2) + zero_weight(w_3, scale_3);
        zero = fma(zero, shrink, zero_01 + zero_23);
        o = scaled(o, shrink, Rows(0.0));
        o = add_weighted(o, code_weight(w_0, scale_0), v_0, place);
        o = add_weighted(o, code_weight(w_1, scale_1), v_1, place);
        o = add_weighted(o, code_weight(w_2, scale_2), v_2, place);
        o = add_weighted(o, code_weight(w_3, scale_3), v_3, place);
    }
    if place == 0u {
        team_tops[team] = top;
        team_sums[team] = sum;
    }
    workgroupBarrier();
    // All stripes of the block to one maximum.
    var highest = top;
    for (var other = team % BLOCKS; other < TEAMS; other += BLOCKS) {
        highest = max(highest, team_tops[other]);
    }
    var whole = Rows(0.0);
    for (var other = team % BLOCKS; other < TEAMS; other += BLOCKS) {
        whole = fma(team_sums[other], exp2(team_tops[other] - highest), whole);
    }
    let last_shrink = exp2(top - highest);
    o = scaled(o, last_shrink, zero * last_shrink);
    if stripe == 0u && place == 0u {
        block_sums[team] = whole;
        for (var r = 0u; r < BLOCK; r += 1u) {
            if first_row + r < ROWS {
                store_sum(segment, first_row + r, row_value(highest, r), row_value(whole, r));
            }
        }
    }
    store_totals(segment, o, flat);
}

// Adds up what the stripes have, quad after quad, and stores it: every lane all stripes of one quad of
// one query row. Before it block_sums have been written.
fn store_totals(segment: Segment, o: Sixteen, flat: u32) {
    const COLUMNS: u32 = BLOCKS * ROW_LANES;
    for (var at = 0u; at < 4u; at += 1u) {
        let own = sixteenth(o, at);
        for (var r = 0u; r < BLOCK; r += 1u) {
            lane_totals[r * LANES + flat] = vec4<f32>(
                row_value(own.x, r),
                row_value(own.y, r),
                row_value(own.z, r),
                row_value(own.w, r),
            );
        }
        workgroupBarrier();
        for (var task = flat; task < BLOCK * COLUMNS; task += LANES) {
            let r = task / COLUMNS;
            let column = task % COLUMNS;
            let block = column / ROW_LANES;
            let row = block * BLOCK + r;
            let quad = lane_quad(column % ROW_LANES, at);
            var total = vec4<f32>(0.0);
            for (var lane = column; lane < LANES; lane += COLUMNS) {
                total += lane_totals[r * LANES + lane];
            }
            if row < ROWS && quad < HEAD_QUADS {
                store_quad(segment, row, quad, total, row_value(block_sums[block], r));
            }
        }
        workgroupBarrier();
    }
}
