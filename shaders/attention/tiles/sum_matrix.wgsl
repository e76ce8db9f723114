// Sums of a tile of query rows: products by cooperative matrices. Two lanes have a row, each every second
// key. Sibling: sum_lanes.wgsl.

fn add_up(segment: Segment, first_row: u32, lane: Lane) {
    let index = lane.index;
    let row = min(first_row + kept_place(lane), query_rows() - 1u);
    let first_token = first_row / params.group;
    let last_token = min(first_row + TILE - 1u, query_rows() - 1u) / params.group;
    let end = end_of(segment, last_token);
    let seen = Seen(vec4<u32>(0u), vec4<u32>(end_of(segment, row / params.group)));

    stage_queries(segment.head, first_row, index);
    workgroupBarrier();
    let kept = load_kept(lane);
    var top = NO_KEY;
    var sum = 0.0;
    // There is a key: every new token sees its own.
    var ahead = load_keys(segment, 0u, end - 1u, index);
    workgroupBarrier();
    for (var key = 0u; key < end; key += TILE) {
        stage_keys(ahead, index);
        stage_factors(segment, key, end - 1u, index);
        workgroupBarrier();
        ahead = load_keys(segment, key + TILE, end - 1u, index);
        products(kept, lane);
        workgroupBarrier();
        var x = logits(scaled_block(block_of(lane), lane));
        if key + TILE > end_of(segment, first_token) {
            x = masked_block(x, key + lane.own / 16u, seen);
        }
        // The factors have been read.
        workgroupBarrier();
        let before = top;
        top = max(top, largest_of(x));
        let base = select(top, 0.0, top <= NO_KEY);
        sum = fma(sum, exp2(before - top), sum_of_block(powers(x, base)));
    }

    let other = subgroupShuffleXor(top, 16u);
    let most = max(top, other);
    sum *= exp2(top - most);
    sum += subgroupShuffleXor(sum, 16u);
    sum = sum_of_powers(vec4<f32>(sum)).x;
    if lane.own < 16u && first_row + kept_place(lane) < query_rows() {
        store_lse(query_row(segment.head, row), most, sum);
    }
}
