// A lane adds up four quads of columns of its four rows, eight quads apart.
// Siblings: quads_2.wgsl, quads_3.wgsl, quads_8.wgsl.

struct Totals {
    a: Four,
    b: Four,
    c: Four,
    d: Four,
}

// Adds a key's value, whose first quad for this lane is at `at`, weighted for each row.
fn add_value(total: Totals, weights: vec4<f32>, at: u32) -> Totals {
    return Totals(
        weighted(total.a, weights, pool[at]),
        weighted(total.b, weights, pool[at + 8u]),
        weighted(total.c, weights, pool[at + 16u]),
        weighted(total.d, weights, pool[at + 24u]),
    );
}

fn scaled(total: Totals, by: vec4<f32>) -> Totals {
    return Totals(
        scaled_four(total.a, by),
        scaled_four(total.b, by),
        scaled_four(total.c, by),
        scaled_four(total.d, by),
    );
}

fn store(total: Totals, segment: Segment, first_row: u32, index: u32) {
    store_four(total.a, segment, first_row, 0u, index);
    store_four(total.b, segment, first_row, 8u, index);
    store_four(total.c, segment, first_row, 16u, index);
    store_four(total.d, segment, first_row, 24u, index);
}
