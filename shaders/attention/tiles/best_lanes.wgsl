// The best of a tile of keys: products by lanes. Sibling: best_matrix.wgsl.

// `tiles` are those of the query rows, first and end.
fn find_best(segment: Segment, first_key: u32, slice: u32, tiles: vec2<u32>, lane: Lane) {
    let index = lane.index;
    let team = index / 8u;
    let place = index % 8u;
    // Of a lane's eight keys.
    var lower = vec4<f32>(NO_KEY);
    var upper = vec4<f32>(NO_KEY);
    for (var tile = tiles.x; tile < tiles.y; tile += 1u) {
        let x = logits(products(segment, tile * TILE, first_key, params.chunk - 1u, index));
        var less: vec4<f32>;
        for (var i = 0u; i < 4u; i += 1u) {
            let row = min(tile * TILE + 4u * team + i, query_rows() - 1u);
            less[i] = denominator(query_row(segment.head, row));
        }
        lower.x = best_of(lower.x, x.a - less);
        lower.y = best_of(lower.y, x.b - less);
        lower.z = best_of(lower.z, x.c - less);
        lower.w = best_of(lower.w, x.d - less);
        upper.x = best_of(upper.x, x.e - less);
        upper.y = best_of(upper.y, x.f - less);
        upper.z = best_of(upper.z, x.g - less);
        upper.w = best_of(upper.w, x.h - less);
    }

    pool[2u * index] = lower;
    pool[2u * index + 1u] = upper;
    workgroupBarrier();
    let key = first_key + index;
    if index < TILE && key < params.chunk {
        let at = index % 8u * 2u + index / 32u;
        var best = NO_KEY;
        for (var i = 0u; i < 16u; i += 1u) {
            best = larger(best, pool[16u * i + at][index / 8u % 4u]);
        }
        put_best(segment.head, slice, key, best);
    }
}
