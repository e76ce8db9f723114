// The best of a tile of keys: products by cooperative matrices, of which keys are what is kept. Two lanes
// have a key, each every second query row. Sibling: best_lanes.wgsl.

// What is taken from the logits of a tile of query rows.
var<workgroup> less: array<f32, 64>;

fn four_less(at: u32) -> vec4<f32> {
    return vec4<f32>(less[at], less[at + 2u], less[at + 4u], less[at + 6u]);
}

// `tiles` are those of the query rows, first and end.
fn find_best(segment: Segment, first_key: u32, slice: u32, tiles: vec2<u32>, lane: Lane) {
    let index = lane.index;
    let last_key = params.chunk - 1u;
    stage_keys(load_keys(segment, first_key, last_key, index), index);
    workgroupBarrier();
    let kept = load_kept(lane);
    let factor = vec4<f32>(key_factor(row_of(segment, first_key, last_key, kept_place(lane))));
    var best = NO_KEY;
    workgroupBarrier();
    for (var at = tiles.x; at < tiles.y; at += 1u) {
        stage_queries(segment.head, at * TILE, index);
        if index < TILE {
            let row = min(at * TILE + index, query_rows() - 1u);
            less[index] = denominator(query_row(segment.head, row));
        }
        workgroupBarrier();
        products(kept, lane);
        workgroupBarrier();
        let x = block_of(lane);
        let half = lane.own / 16u;
        best = best_of(best, logit(factor * x.a) - four_less(half));
        best = best_of(best, logit(factor * x.b) - four_less(half + 8u));
        best = best_of(best, logit(factor * x.c) - four_less(half + 16u));
        best = best_of(best, logit(factor * x.d) - four_less(half + 24u));
        best = best_of(best, logit(factor * x.e) - four_less(half + 32u));
        best = best_of(best, logit(factor * x.f) - four_less(half + 40u));
        best = best_of(best, logit(factor * x.g) - four_less(half + 48u));
        best = best_of(best, logit(factor * x.h) - four_less(half + 56u));
        // What is taken has been read.
        workgroupBarrier();
    }
    best = larger(best, subgroupShuffleXor(best, 16u));
    let key = first_key + kept_place(lane);
    if lane.own < 16u && key < params.chunk {
        put_best(segment.head, slice, key, best);
    }
}
