// Sums of a subgroup's 16 rows: eight matrices of 16 columns.
// Siblings: matrix_sums_4.wgsl, matrix_sums_5.wgsl, matrix_sums_6.wgsl.

struct Totals {
    a: coop_mat16x16<f32, C>,
    b: coop_mat16x16<f32, C>,
    c: coop_mat16x16<f32, C>,
    d: coop_mat16x16<f32, C>,
    e: coop_mat16x16<f32, C>,
    f: coop_mat16x16<f32, C>,
    g: coop_mat16x16<f32, C>,
    h: coop_mat16x16<f32, C>,
}

// Adds 16 values of the tile, weighted.
fn add_sixteen(total: Totals, first: u32, lane: Lane) -> Totals {
    let rows = coopLoad<coop_mat16x16<f16, A>>(&weights[1024u * lane.subgroup + 16u * first], 16u);
    let at = first * PITCH;
    var sums = total;
    sums.a = coopMultiplyAdd(rows, coopLoadT<coop_mat16x16<f16, B>>(&tile[at], PITCH), sums.a);
    sums.b = coopMultiplyAdd(rows, coopLoadT<coop_mat16x16<f16, B>>(&tile[at + 16u], PITCH), sums.b);
    sums.c = coopMultiplyAdd(rows, coopLoadT<coop_mat16x16<f16, B>>(&tile[at + 32u], PITCH), sums.c);
    sums.d = coopMultiplyAdd(rows, coopLoadT<coop_mat16x16<f16, B>>(&tile[at + 48u], PITCH), sums.d);
    sums.e = coopMultiplyAdd(rows, coopLoadT<coop_mat16x16<f16, B>>(&tile[at + 64u], PITCH), sums.e);
    sums.f = coopMultiplyAdd(rows, coopLoadT<coop_mat16x16<f16, B>>(&tile[at + 80u], PITCH), sums.f);
    sums.g = coopMultiplyAdd(rows, coopLoadT<coop_mat16x16<f16, B>>(&tile[at + 96u], PITCH), sums.g);
    sums.h = coopMultiplyAdd(rows, coopLoadT<coop_mat16x16<f16, B>>(&tile[at + 112u], PITCH), sums.h);
    return sums;
}

fn add_values(total: Totals, lane: Lane) -> Totals {
    let half = add_sixteen(add_sixteen(total, 0u, lane), 16u, lane);
    return add_sixteen(add_sixteen(half, 32u, lane), 48u, lane);
}

// Sums of every row scaled by its lanes' factor, by way of four places in turns.
fn scaled(total: Totals, lane: Lane, by: f32) -> Totals {
    let at = 1024u * lane.subgroup;
    var sums = total;
    coopStore(sums.a, &scores[at], 16u);
    scale_scores(lane, 0u, by);
    sums.a = coopLoad<coop_mat16x16<f32, C>>(&scores[at], 16u);
    coopStore(sums.b, &scores[at + 256u], 16u);
    scale_scores(lane, 256u, by);
    sums.b = coopLoad<coop_mat16x16<f32, C>>(&scores[at + 256u], 16u);
    coopStore(sums.c, &scores[at + 512u], 16u);
    scale_scores(lane, 512u, by);
    sums.c = coopLoad<coop_mat16x16<f32, C>>(&scores[at + 512u], 16u);
    coopStore(sums.d, &scores[at + 768u], 16u);
    scale_scores(lane, 768u, by);
    sums.d = coopLoad<coop_mat16x16<f32, C>>(&scores[at + 768u], 16u);
    coopStore(sums.e, &scores[at], 16u);
    scale_scores(lane, 0u, by);
    sums.e = coopLoad<coop_mat16x16<f32, C>>(&scores[at], 16u);
    coopStore(sums.f, &scores[at + 256u], 16u);
    scale_scores(lane, 256u, by);
    sums.f = coopLoad<coop_mat16x16<f32, C>>(&scores[at + 256u], 16u);
    coopStore(sums.g, &scores[at + 512u], 16u);
    scale_scores(lane, 512u, by);
    sums.g = coopLoad<coop_mat16x16<f32, C>>(&scores[at + 512u], 16u);
    coopStore(sums.h, &scores[at + 768u], 16u);
    scale_scores(lane, 768u, by);
    sums.h = coopLoad<coop_mat16x16<f32, C>>(&scores[at + 768u], 16u);
    return sums;
}

fn store(total: Totals, segment: Segment, first_row: u32, lane: Lane, by: f32) {
    let at = 1024u * lane.subgroup;
    coopStore(total.a, &scores[at], 16u);
    store_scores(segment, first_row, 0u, lane, by);
    coopStore(total.b, &scores[at], 16u);
    store_scores(segment, first_row, 4u, lane, by);
    coopStore(total.c, &scores[at], 16u);
    store_scores(segment, first_row, 8u, lane, by);
    coopStore(total.d, &scores[at], 16u);
    store_scores(segment, first_row, 12u, lane, by);
    coopStore(total.e, &scores[at], 16u);
    store_scores(segment, first_row, 16u, lane, by);
    coopStore(total.f, &scores[at], 16u);
    store_scores(segment, first_row, 20u, lane, by);
    coopStore(total.g, &scores[at], 16u);
    store_scores(segment, first_row, 24u, lane, by);
    coopStore(total.h, &scores[at], 16u);
    store_scores(segment, first_row, 28u, lane, by);
}
