// o = the attention of many new tokens to the rows of a cache.
//
// A workgroup has a tile of query rows of a KV head and goes through the keys that some of them see, tile
// by tile: products, weights, then weighted values, 32 keys at a time through workgroup memory. Rows keep
// a running maximum; sums are each lane's own until the end.
// Expects: const WINDOWED, whether tokens see keys from `starts` on only.

// The first key that a new token sees.
fn start_of(segment: Segment, token: u32) -> u32 {
    if WINDOWED {
        return schedule[params.starts + token * params.heads + segment.head];
    }
    return 0u;
}

// The four rows of a team; past the last row there is the last one again.
fn seen_by(segment: Segment, first_row: u32, team: u32) -> Seen {
    var seen: Seen;
    for (var i = 0u; i < 4u; i += 1u) {
        let token = min(first_row + 4u * team + i, query_rows() - 1u) / params.group;
        seen.start[i] = start_of(segment, token);
        seen.end[i] = end_of(segment, token);
    }
    return seen;
}

// The largest of a team's maxima. To be called by all lanes.
fn top_of_team(own: vec4<f32>, index: u32) -> vec4<f32> {
    let first = VALUES_AT + index / 8u * 8u;
    pool[VALUES_AT + index] = own;
    workgroupBarrier();
    var top = own;
    for (var i = 0u; i < 8u; i += 1u) {
        top = max(top, pool[first + i]);
    }
    workgroupBarrier();
    return top;
}

@compute @workgroup_size(LANES)
fn prefill(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    if number >= params.heads * params.row_tiles {
        return;
    }
    let team = index / 8u;
    let place = index % 8u;
    let segment = segment_of(number / params.row_tiles);
    // The last rows see most keys: they come first.
    let first_row = (params.row_tiles - 1u - number % params.row_tiles) * TILE;
    let first_token = first_row / params.group;
    let last_token = min(first_row + TILE - 1u, query_rows() - 1u) / params.group;
    let end = end_of(segment, last_token);
    let seen = seen_by(segment, first_row, team);

    var top = vec4<f32>(NO_KEY);
    var sum = vec4<f32>(0.0);
    var total: Totals;
    for (var key = start_of(segment, first_token); key < end; key += TILE) {
        var x = logits(products(segment, first_row, key, end - 1u, index));
        // Rows of a tile see all of most tiles.
        if key < start_of(segment, last_token) || key + TILE > end_of(segment, first_token) {
            x = masked_block(x, key + place, seen);
        }
        let before = top;
        top = top_of_team(max(top, largest(x)), index);
        let shrink = exp2(before - top);
        let base = base_of(top);
        total = scaled(total, shrink);
        let lower = Four(exp2(x.a - base), exp2(x.b - base), exp2(x.c - base), exp2(x.d - base));
        let upper = Four(exp2(x.e - base), exp2(x.f - base), exp2(x.g - base), exp2(x.h - base));
        sum = fma(sum, shrink, (lower.a + lower.b) + (lower.c + lower.d));
        sum += (upper.a + upper.b) + (upper.c + upper.d);
        for (var half = 0u; half < 2u && key + 32u * half < end; half += 1u) {
            let to = weight_at(team, place);
            pool[to] = select(lower.a, upper.a, half == 1u);
            pool[to + 8u] = select(lower.b, upper.b, half == 1u);
            pool[to + 16u] = select(lower.c, upper.c, half == 1u);
            pool[to + 24u] = select(lower.d, upper.d, half == 1u);
            for (var lot = 0u; lot < 32u; lot += VALUE_KEYS) {
                stage_values(segment, key + 32u * half + lot, end - 1u, index);
                workgroupBarrier();
                for (var i = 0u; i < VALUE_KEYS; i += 1u) {
                    let weights = pool[weight_at(team, lot + i)];
                    total = add_value(total, weights, VALUES_AT + i * HEAD_QUADS + place);
                }
                workgroupBarrier();
            }
        }
    }

    pool[index] = sum;
    workgroupBarrier();
    sum = vec4<f32>(0.0);
    for (var i = 0u; i < 8u; i += 1u) {
        sum += pool[team * 8u + i];
    }
    workgroupBarrier();
    sum = sum_of_powers(sum);
    // Without keys 0 is stored.
    total = scaled(total, 1.0 / select(sum, vec4<f32>(1.0), sum == vec4<f32>(0.0)));
    store(total, segment, first_row, index);
    if place == 0u {
        pool[team] = top;
        pool[16u + team] = sum;
    }
    workgroupBarrier();
    let row = first_row + index;
    if index < TILE && row < query_rows() {
        let at = query_row(segment.head, row);
        store_lse(at, pool[index / 4u][index % 4u], pool[16u + index / 4u][index % 4u]);
    }
}
