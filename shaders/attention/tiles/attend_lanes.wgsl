// Attention of a tile of query rows: products by lanes, weights, then weighted values, 32 keys at a time
// through workgroup memory. Rows keep a running maximum; sums are each lane's own until the end.
// Sibling: attend_matrix.wgsl.

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

fn attend(segment: Segment, first_row: u32, lane: Lane) {
    let index = lane.index;
    let team = index / 8u;
    let place = index % 8u;
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
