// What a subgroup keeps of its 16 vectors: four matrices of 16 columns.
// Siblings: matrix_kept_5.wgsl, matrix_kept_6.wgsl, matrix_kept_8.wgsl.

struct Kept {
    a: coop_mat16x16<f16, A>,
    b: coop_mat16x16<f16, A>,
    c: coop_mat16x16<f16, A>,
    d: coop_mat16x16<f16, A>,
}

// From the tile. To be called by whole subgroups, as all that follows.
fn load_kept(lane: Lane) -> Kept {
    let at = 16u * lane.subgroup * PITCH;
    return Kept(
        coopLoadT<coop_mat16x16<f16, A>>(&tile[at], PITCH),
        coopLoadT<coop_mat16x16<f16, A>>(&tile[at + 16u], PITCH),
        coopLoadT<coop_mat16x16<f16, A>>(&tile[at + 32u], PITCH),
        coopLoadT<coop_mat16x16<f16, A>>(&tile[at + 48u], PITCH),
    );
}

// Products with 16 vectors of the tile.
fn product(kept: Kept, first: u32) -> coop_mat16x16<f32, C> {
    let at = first * PITCH;
    var sums: coop_mat16x16<f32, C>;
    sums = coopMultiplyAdd(kept.a, coopLoad<coop_mat16x16<f16, B>>(&tile[at], PITCH), sums);
    sums = coopMultiplyAdd(kept.b, coopLoad<coop_mat16x16<f16, B>>(&tile[at + 16u], PITCH), sums);
    sums = coopMultiplyAdd(kept.c, coopLoad<coop_mat16x16<f16, B>>(&tile[at + 32u], PITCH), sums);
    sums = coopMultiplyAdd(kept.d, coopLoad<coop_mat16x16<f16, B>>(&tile[at + 48u], PITCH), sums);
    return sums;
}

// Products with all vectors of the tile, into `scores`.
fn products(kept: Kept, lane: Lane) {
    let at = 1024u * lane.subgroup;
    coopStore(product(kept, 0u), &scores[at], 16u);
    coopStore(product(kept, 16u), &scores[at + 256u], 16u);
    coopStore(product(kept, 32u), &scores[at + 512u], 16u);
    coopStore(product(kept, 48u), &scores[at + 768u], 16u);
}
