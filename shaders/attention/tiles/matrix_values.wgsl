// Weighted sums of values by cooperative matrices, and outputs.
// Expects: tiles/matrix.wgsl, a part with store_o.

// Weights of a tile, [4 subgroups, 64 keys, 16 rows].
var<workgroup> weights: array<f16, 4096>;

fn load_values(segment: Segment, first_key: u32, last_key: u32, index: u32) -> Ahead {
    var ahead: Ahead;
    for (var i = 0u; i < AHEAD; i += 1u) {
        let unit = index + i * LANES;
        let row = row_of(segment, first_key, last_key, min(unit / ROW_PIECES, TILE - 1u));
        ahead[i] = values[row * ROW_PIECES + unit % ROW_PIECES];
    }
    return ahead;
}

fn stage_values(ahead: Ahead, segment: Segment, first_key: u32, last_key: u32, index: u32) {
    var pieces = ahead;
    for (var i = 0u; i < AHEAD; i += 1u) {
        let unit = index + i * LANES;
        if unit < TILE * ROW_PIECES {
            let place = unit / ROW_PIECES;
            let codec = value_codec(row_of(segment, first_key, last_key, place));
            for (var at = 0u; at < QUADS; at += 1u) {
                put_quad(place, unit % ROW_PIECES * QUADS + at, decode(pieces[i], at, codec));
            }
        }
    }
}

fn put_four(at: u32, x: vec4<f32>) {
    let halves = vec4<f16>(x);
    weights[at] = halves.x;
    weights[at + 32u] = halves.y;
    weights[at + 64u] = halves.z;
    weights[at + 96u] = halves.w;
}

// Stores a lane's weights.
fn put_weights(x: Block, lane: Lane) {
    let at = 1024u * lane.subgroup + lane.own;
    put_four(at, x.a);
    put_four(at + 128u, x.b);
    put_four(at + 256u, x.c);
    put_four(at + 384u, x.d);
    put_four(at + 512u, x.e);
    put_four(at + 640u, x.f);
    put_four(at + 768u, x.g);
    put_four(at + 896u, x.h);
}

// Scales a lane's part of a matrix of sums that lies `place` behind the subgroup's first score.
fn scale_scores(lane: Lane, place: u32, by: f32) {
    let first = 1024u * lane.subgroup + place + lane.own;
    workgroupBarrier();
    for (var i = 0u; i < 8u; i += 1u) {
        scores[first + 32u * i] *= by;
    }
    workgroupBarrier();
}

// Writes the matrix of sums that lies at the subgroup's first score, whose first quad of columns is `quad`, scaled.
fn store_scores(segment: Segment, first_row: u32, quad: u32, lane: Lane, by: f32) {
    workgroupBarrier();
    let row = first_row + kept_place(lane);
    if row < query_rows() {
        let to = query_row(segment.head, row) * HEAD_QUADS + quad;
        for (var i = lane.own / 16u; i < 4u; i += 2u) {
            let at = 1024u * lane.subgroup + 64u * i + lane.own % 16u;
            let value = vec4<f32>(scores[at], scores[at + 16u], scores[at + 32u], scores[at + 48u]);
            store_o(to + i, by * value);
        }
    }
    workgroupBarrier();
}
