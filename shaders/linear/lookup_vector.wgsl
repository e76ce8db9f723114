// Given tables of pairs of weights in workgroup memory as f32: one lookup for two neighbours.
// Siblings: lookup_vector_half.wgsl, and for tables of single weights lookup_pair.wgsl, which
// builds the pairs.

// Eight neighbouring columns.
struct Weights {
    low: vec4<f32>,
    high: vec4<f32>,
}

// log2 of an entry's bytes.
const ENTRY_SHIFT: u32 = 3u;

var<workgroup> table: array<vec2<f32>, ROWS * LEVELS>;

// Loads the tables of rows `row` .. `row + ROWS` of the piece. A row past `last` takes the last
// one's table: nothing reads it, and no load leaves the tensor.
fn load_tables(row: u32, last: u32, lane: Lane) {
    for (var i = lane.index; i < ROWS * LEVELS; i += WORKGROUP) {
        table[i] = table_pair(min(row + i / LEVELS, last) * LEVELS + i % LEVELS);
    }
}

// Weights of codes 4k .. 4k + 3 of a word of row `r` of the workgroup.
fn values(r: u32, codes: Codes, k: u32) -> Weights {
    let at = vec4<u32>(r * LEVELS) + quad(codes, k);
    return Weights(vec4<f32>(table[at.x], table[at.y]), vec4<f32>(table[at.z], table[at.w]));
}
