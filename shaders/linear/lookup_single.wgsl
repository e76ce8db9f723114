// The tables of a workgroup's rows in workgroup memory as f32, one lookup a weight.
// Siblings: lookup_half.wgsl, lookup_pair.wgsl, lookup_storage.wgsl.

// log2 of an entry's bytes.
const ENTRY_SHIFT: u32 = 2u;

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

// Weights 4k .. 4k + 3 of a word of row `r` of the workgroup.
fn values(r: u32, codes: Codes, k: u32) -> vec4<f32> {
    let base = r * LEVELS;
    let at = quad(codes, k);
    return vec4<f32>(table[base + at.x], table[base + at.y], table[base + at.z], table[base + at.w]);
}

// Activations in the order of `values`.
fn matched(x: vec4<f32>) -> vec4<f32> {
    return x;
}
