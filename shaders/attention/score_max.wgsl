// score = the largest attention that a key of a chunk gets from any query row of its KV head.
//
// A workgroup has a tile of keys and goes through tiles of query rows, all or a slice of them. The
// exponential is monotone: the largest exponent is kept, and one power taken at the end.

@compute @workgroup_size(LANES)
fn score_max(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    let of_head = params.key_tiles * params.slices;
    if number >= params.heads * of_head {
        return;
    }
    let team = index / 8u;
    let place = index % 8u;
    let segment = segment_of(number / of_head);
    let first_key = number % of_head / params.slices * TILE;
    let slice = number % params.slices;
    let each = (params.row_tiles + params.slices - 1u) / params.slices;
    let end = min(slice * each + each, params.row_tiles);

    // Of a lane's eight keys.
    var lower = vec4<f32>(NO_KEY);
    var upper = vec4<f32>(NO_KEY);
    for (var tile = slice * each; tile < end; tile += 1u) {
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
