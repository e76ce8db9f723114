// The tables of a workgroup's rows in workgroup memory, as f32.

var<workgroup> table: array<f32, ROWS * LEVELS>;

// Loads the tables of rows `row` .. `row + ROWS` of the piece. A row past `last` takes the last
// one's table: nothing reads it, and no load leaves the tensor.
fn load_tables(row: u32, last: u32, lane: Lane) {
    for (var i = lane.index; i < ROWS * LEVELS / 2u; i += WORKGROUP) {
        let source = min(row + 2u * i / LEVELS, last);
        let pair = table_pair(source * (LEVELS / 2u) + i % (LEVELS / 2u));
        table[2u * i] = pair.x;
        table[2u * i + 1u] = pair.y;
    }
}

// Values of four codes in the table that starts at `base`.
fn look_up(base: u32, codes: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(
        table[base + codes.x],
        table[base + codes.y],
        table[base + codes.z],
        table[base + codes.w],
    );
}
