// The best of a tile of keys: products by cooperative matrices, of which keys are what is kept. Two lanes
// have a key, each every second query row. The next tile's rows are under way while one is multiplied.
// Sibling: best_lanes.wgsl.
// Expects: q_f16.wgsl.

// What is taken from the logits of a tile of query rows, of three tiles in turns: some lanes still read one
// while others write the next but one.
var<workgroup> less: array<f32, 192>;
// Where the query rows of the next tile begin, in quads.
var<workgroup> row_quads: array<u32, 64>;

// Quads of a tile of query rows that a lane loads, f16 as they are.
alias Queries = array<vec2<u32>, HEAD_QUADS / 2u>;

fn four_less(at: u32) -> vec4<f32> {
    return vec4<f32>(less[at], less[at + 2u], less[at + 4u], less[at + 6u]);
}

// Looks a tile of query rows up: a division a row, not one a quad.
fn look_up(head: u32, tile_at: u32, third: u32, index: u32) {
    if index < TILE {
        let row = query_row(head, min(tile_at * TILE + index, query_rows() - 1u));
        less[64u * third + index] = denominator(row);
        row_quads[index] = row * HEAD_QUADS;
    }
}

fn load_queries(index: u32) -> Queries {
    var all: Queries;
    for (var i = 0u; i < HEAD_QUADS / 2u; i += 1u) {
        let unit = index + i * LANES;
        all[i] = q[row_quads[unit / HEAD_QUADS] + unit % HEAD_QUADS];
    }
    return all;
}

fn stage_loaded(all: Queries, index: u32) {
    var quads = all;
    for (var i = 0u; i < HEAD_QUADS / 2u; i += 1u) {
        let unit = index + i * LANES;
        let numbers = vec4<f32>(unpack2x16float(quads[i].x), unpack2x16float(quads[i].y));
        put_quad(unit / HEAD_QUADS, unit % HEAD_QUADS, numbers);
    }
}

// `tiles` are those of the query rows, first and end.
fn find_best(segment: Segment, first_key: u32, slice: u32, tiles: vec2<u32>, lane: Lane) {
    let index = lane.index;
    let last_key = params.chunk - 1u;
    stage_keys(load_keys(segment, first_key, last_key, index), index);
    look_up(segment.head, tiles.x, 0u, index);
    workgroupBarrier();
    let kept = load_kept(lane);
    let factor = vec4<f32>(key_factor(row_of(segment, first_key, last_key, kept_place(lane))));
    var best = NO_KEY;
    var ahead = load_queries(index);
    var third = 0u;
    workgroupBarrier();
    for (var at = tiles.x; at < tiles.y; at += 1u) {
        let next = select(third + 1u, 0u, third == 2u);
        stage_loaded(ahead, index);
        look_up(segment.head, at + 1u, next, index);
        workgroupBarrier();
        ahead = load_queries(index);
        products(kept, lane);
        workgroupBarrier();
        let x = block_of(lane);
        let first = 64u * third + lane.own / 16u;
        best = best_of(best, logit(factor * x.a) - four_less(first));
        best = best_of(best, logit(factor * x.b) - four_less(first + 8u));
        best = best_of(best, logit(factor * x.c) - four_less(first + 16u));
        best = best_of(best, logit(factor * x.d) - four_less(first + 24u));
        best = best_of(best, logit(factor * x.e) - four_less(first + 32u));
        best = best_of(best, logit(factor * x.f) - four_less(first + 40u));
        best = best_of(best, logit(factor * x.g) - four_less(first + 48u));
        best = best_of(best, logit(factor * x.h) - four_less(first + 56u));
        third = next;
    }
    best = larger(best, subgroupShuffleXor(best, 16u));
    let key = first_key + kept_place(lane);
    if lane.own < 16u && key < params.chunk {
        put_best(segment.head, slice, key, best);
    }
}
