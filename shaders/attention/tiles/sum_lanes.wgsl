// Sums of a tile of query rows: products by lanes. Every lane keeps maximum and sum of its rows over its own
// keys; those of a row are put together at the end. Sibling: sum_matrix.wgsl.

// Where sums are put; maxima before them.
const SUMS_AT: u32 = 128u;

fn add_up(segment: Segment, first_row: u32, lane: Lane) {
    let index = lane.index;
    let team = index / 8u;
    let place = index % 8u;
    let first_token = first_row / params.group;
    let last_row = query_rows() - 1u;
    let end = end_of(segment, min(first_row + TILE - 1u, last_row) / params.group);
    var seen: Seen;
    for (var i = 0u; i < 4u; i += 1u) {
        let row = min(first_row + 4u * team + i, last_row);
        seen.end[i] = end_of(segment, row / params.group);
    }

    var top = vec4<f32>(NO_KEY);
    var sum = vec4<f32>(0.0);
    for (var key = 0u; key < end; key += TILE) {
        var x = logits(products(segment, first_row, key, end - 1u, index));
        if key + TILE > end_of(segment, first_token) {
            x = masked_block(x, key + place, seen);
        }
        let before = top;
        top = max(top, largest(x));
        let base = base_of(top);
        let lower = exp2(x.a - base) + exp2(x.b - base) + exp2(x.c - base) + exp2(x.d - base);
        let upper = exp2(x.e - base) + exp2(x.f - base) + exp2(x.g - base) + exp2(x.h - base);
        sum = fma(sum, exp2(before - top), lower + upper);
    }

    pool[index] = top;
    pool[SUMS_AT + index] = sum_of_powers(sum);
    workgroupBarrier();
    let row = first_row + index;
    if index < TILE && row <= last_row {
        let first = index / 4u * 8u;
        let part = index % 4u;
        var row_top = NO_KEY;
        for (var i = 0u; i < 8u; i += 1u) {
            row_top = max(row_top, pool[first + i][part]);
        }
        var row_sum = 0.0;
        for (var i = 0u; i < 8u; i += 1u) {
            let weight = exp2(pool[first + i][part] - row_top);
            row_sum = fma(pool[SUMS_AT + first + i][part], weight, row_sum);
        }
        store_lse(query_row(segment.head, row), row_top, row_sum);
    }
}
