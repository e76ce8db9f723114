// Attention to a segment in registers. ROW_LANES lanes of a subgroup, a team, share a key: each has
// eight numbers of it, and of BLOCK query rows. Teams differ in their block of query rows and then in
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
// Lanes of a team beyond these have no numbers.
const EIGHTS: u32 = HEAD_QUADS / 2u;

// A value for each query row of the block, of each of eight numbers.
struct Eight {
    a: Rows,
    b: Rows,
    c: Rows,
    d: Rows,
    e: Rows,
    f: Rows,
    g: Rows,
    h: Rows,
}

struct Seen {
    starts: RowNumbers,
    ends: RowNumbers,
}

var<workgroup> team_tops: array<Rows, TEAMS>;
var<workgroup> team_sums: array<Rows, TEAMS>;
var<workgroup> lane_totals: array<Rows, 2u * LANES>;

fn dots(q: Eight, low: vec4<f32>, high: vec4<f32>) -> Rows {
    let left = fma(q.d, Rows(low.w), fma(q.c, Rows(low.z), fma(q.b, Rows(low.y), q.a * low.x)));
    let right = fma(q.h, Rows(high.w), fma(q.g, Rows(high.z), fma(q.f, Rows(high.y), q.e * high.x)));
    return left + right;
}

fn add_weighted(o: Eight, weight: Rows, low: vec4<f32>, high: vec4<f32>) -> Eight {
    return Eight(
        fma(weight, Rows(low.x), o.a),
        fma(weight, Rows(low.y), o.b),
        fma(weight, Rows(low.z), o.c),
        fma(weight, Rows(low.w), o.d),
        fma(weight, Rows(high.x), o.e),
        fma(weight, Rows(high.y), o.f),
        fma(weight, Rows(high.z), o.g),
        fma(weight, Rows(high.w), o.h),
    );
}

fn scaled(o: Eight, by: Rows) -> Eight {
    return Eight(
        o.a * by, o.b * by, o.c * by, o.d * by, o.e * by, o.f * by, o.g * by, o.h * by,
    );
}

// Eight numbers of the queries; lanes without numbers and rows that fill a block up have zeros.
fn load_queries(segment: Segment, first_row: u32, place: u32) -> Eight {
    var q: Eight;
    for (var r = 0u; r < BLOCK; r += 1u) {
        if first_row + r < ROWS && place < EIGHTS {
            let at = query_row(segment.head, first_row + r) * HEAD_QUADS + 2u * place;
            let low = q_quad(at);
            let high = q_quad(at + 1u);
            let own = is_row(r);
            q.a = select(q.a, Rows(low.x), own);
            q.b = select(q.b, Rows(low.y), own);
            q.c = select(q.c, Rows(low.z), own);
            q.d = select(q.d, Rows(low.w), own);
            q.e = select(q.e, Rows(high.x), own);
            q.f = select(q.f, Rows(high.y), own);
            q.g = select(q.g, Rows(high.z), own);
            q.h = select(q.h, Rows(high.w), own);
        }
    }
    return q;
}

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

fn sees(all: Seen, key: u32) -> RowTests {
    return (RowNumbers(key) >= all.starts) & (RowNumbers(key) < all.ends);
}

fn attend(segment: Segment, lane: Lane) {
    // Teams are within subgroups, however lanes are numbered.
    let flat = lane.subgroup * lane.size + lane.place;
    let team = flat / ROW_LANES;
    let place = flat % ROW_LANES;
    let first_row = team % BLOCKS * BLOCK;
    let stripe = team / BLOCKS;
    let eight = min(place, EIGHTS - 1u);
    let q = load_queries(segment, first_row, place);
    let all = load_seen(segment, first_row);
    var top = Rows(NO_KEY);
    var sum = Rows(0.0);
    var o: Eight;
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
        let k_0 = load_key(row_0, eight);
        let k_1 = load_key(row_1, eight);
        let k_2 = load_key(row_2, eight);
        let k_3 = load_key(row_3, eight);
        let v_0 = load_value(row_0, eight);
        let v_1 = load_value(row_1, eight);
        let v_2 = load_value(row_2, eight);
        let v_3 = load_value(row_3, eight);
        let codec_0 = key_codec(row_0);
        let codec_1 = key_codec(row_1);
        let codec_2 = key_codec(row_2);
        let codec_3 = key_codec(row_3);
        var x_0 = dots(q, low_quad(k_0, eight, codec_0), high_quad(k_0, eight, codec_0));
        var x_1 = dots(q, low_quad(k_1, eight, codec_1), high_quad(k_1, eight, codec_1));
        var x_2 = dots(q, low_quad(k_2, eight, codec_2), high_quad(k_2, eight, codec_2));
        var x_3 = dots(q, low_quad(k_3, eight, codec_3), high_quad(k_3, eight, codec_3));
        for (var bit = 1u; bit < ROW_LANES; bit *= 2u) {
            x_0 += subgroupShuffleXor(x_0, bit);
            x_1 += subgroupShuffleXor(x_1, bit);
            x_2 += subgroupShuffleXor(x_2, bit);
            x_3 += subgroupShuffleXor(x_3, bit);
        }
        let sees_0 = sees(all, key_0);
        let sees_1 = sees(all, key_1);
        let sees_2 = sees(all, key_2);
        let sees_3 = sees(all, key_3);
        x_0 = select(Rows(NO_KEY), logit(x_0), sees_0);
        x_1 = select(Rows(NO_KEY), logit(x_1), sees_1);
        x_2 = select(Rows(NO_KEY), logit(x_2), sees_2);
        x_3 = select(Rows(NO_KEY), logit(x_3), sees_3);
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
        o = scaled(o, shrink);
        o = add_weighted(o, w_0, low_quad(v_0, eight, scale_0), high_quad(v_0, eight, scale_0));
        o = add_weighted(o, w_1, low_quad(v_1, eight, scale_1), high_quad(v_1, eight, scale_1));
        o = add_weighted(o, w_2, low_quad(v_2, eight, scale_2), high_quad(v_2, eight, scale_2));
        o = add_weighted(o, w_3, low_quad(v_3, eight, scale_3), high_quad(v_3, eight, scale_3));
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
    o = scaled(o, exp2(top - highest));
    let first = stripes_summed(o.a, o.b, flat);
    let second = stripes_summed(o.c, o.d, flat);
    let third = stripes_summed(o.e, o.f, flat);
    let fourth = stripes_summed(o.g, o.h, flat);
    if stripe > 0u || place >= EIGHTS {
        return;
    }
    for (var r = 0u; r < BLOCK; r += 1u) {
        let row = first_row + r;
        if row < ROWS {
            let of_row = row_value(whole, r);
            let low = vec4<f32>(
                row_value(first.low, r),
                row_value(first.high, r),
                row_value(second.low, r),
                row_value(second.high, r),
            );
            let high = vec4<f32>(
                row_value(third.low, r),
                row_value(third.high, r),
                row_value(fourth.low, r),
                row_value(fourth.high, r),
            );
            store_quad(segment, row, 2u * place, low, of_row);
            store_quad(segment, row, 2u * place + 1u, high, of_row);
            if place == 0u {
                store_sum(segment, row, row_value(highest, r), of_row);
            }
        }
    }
}

struct Pair {
    low: Rows,
    high: Rows,
}

// The sums of all stripes, for the lanes of the first.
fn stripes_summed(low: Rows, high: Rows, flat: u32) -> Pair {
    lane_totals[flat] = low;
    lane_totals[LANES + flat] = high;
    workgroupBarrier();
    var total: Pair;
    if flat < BLOCKS * ROW_LANES {
        for (var at = flat; at < LANES; at += BLOCKS * ROW_LANES) {
            total.low += lane_totals[at];
            total.high += lane_totals[LANES + at];
        }
    }
    workgroupBarrier();
    return total;
}
