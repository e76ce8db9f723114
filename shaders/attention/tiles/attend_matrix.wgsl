// Attention of a tile of query rows: products by cooperative matrices, weights of f16 by lanes, two for a
// row, weighted values by matrices again. Sibling: attend_lanes.wgsl.
//
// Weights are powers above a base that follows a row's maximum only when that is GROWTH powers of 2 above it:
// then all sums are scaled, through workgroup memory. They are LIFT powers of 2 larger than that, as f16
// holds 2^15 and 2^-24, and many small ones may add up beside a large one.
// Expects: tiles/matrix.wgsl, matrix_kept_*.wgsl, matrix_values.wgsl, matrix_sums_*.wgsl.

const GROWTH: f32 = 8.0;
const LIFT: f32 = 7.0;

// Whether a subgroup's base has changed.
var<workgroup> grown: array<u32, 4>;

fn attend(segment: Segment, first_row: u32, lane: Lane) {
    let index = lane.index;
    let row = min(first_row + kept_place(lane), query_rows() - 1u);
    let token = row / params.group;
    let first_token = first_row / params.group;
    let last_token = min(first_row + TILE - 1u, query_rows() - 1u) / params.group;
    let end = end_of(segment, last_token);
    let start = vec4<u32>(start_of(segment, token));
    let seen = Seen(start, vec4<u32>(end_of(segment, token)));

    stage_queries(segment.head, first_row, index);
    workgroupBarrier();
    let kept = load_kept(lane);
    var base = NO_KEY;
    var sum = 0.0;
    var total: Totals;
    let first_key = start_of(segment, first_token);
    var ahead: Ahead;
    if first_key < end {
        ahead = load_keys(segment, first_key, end - 1u, index);
    }
    // The tile has been read.
    workgroupBarrier();
    for (var key = first_key; key < end; key += TILE) {
        stage_keys(ahead, index);
        stage_factors(segment, key, end - 1u, index);
        workgroupBarrier();
        ahead = load_values(segment, key, end - 1u, index);
        products(kept, lane);
        workgroupBarrier();
        var x = logits(scaled_block(block_of(lane), lane));
        stage_values(ahead, segment, key, end - 1u, index);
        // Rows of a tile see all of most tiles.
        if key < start_of(segment, last_token) || key + TILE > end_of(segment, first_token) {
            x = masked_block(x, key + lane.own / 16u, seen);
        }
        let own = largest_of(x);
        let top = max(own, subgroupShuffleXor(own, 16u));
        let before = base;
        base = select(base, top, top > base + GROWTH);
        // Where no key was seen before, there is nothing to scale.
        let grows = subgroupAny(base != before && before > NO_KEY);
        if lane.own == 0u {
            grown[lane.subgroup] = select(0u, 1u, grows);
        }
        let shrink = exp2(before - base);
        let weight = powers(x, select(base - LIFT, 0.0, base <= NO_KEY));
        sum = fma(sum, shrink, sum_of_block(weight));
        put_weights(weight, lane);
        let changed = workgroupUniformLoad(&grown);
        ahead = load_keys(segment, key + TILE, end - 1u, index);
        if (changed[0] | changed[1] | changed[2] | changed[3]) != 0u {
            total = scaled(total, lane, shrink);
        }
        total = add_values(total, lane);
        workgroupBarrier();
    }

    sum += subgroupShuffleXor(sum, 16u);
    sum = sum_of_powers(vec4<f32>(sum)).x;
    // Without keys 0 is stored.
    store(total, segment, first_row, lane, 1.0 / select(sum, 1.0, sum == 0.0));
    if lane.own < 16u && first_row + kept_place(lane) < query_rows() {
        store_lse(query_row(segment.head, row), base - LIFT, sum);
    }
}
