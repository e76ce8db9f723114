// Given tables of pairs of weights in workgroup memory as f16: one bank a lookup. Needs f16
// arithmetic and tables of f16; values are exact. Sibling: lookup_vector.wgsl.

// log2 of an entry's bytes.
const ENTRY_SHIFT: u32 = 2u;

@group(0) @binding(2) var<storage, read> tables: array<vec2<f16>>;

// Eight neighbouring columns.
struct Weights {
    low: vec4<f32>,
    high: vec4<f32>,
}

var<workgroup> table: array<vec2<f16>, ROWS * LEVELS>;

// As in lookup_vector.wgsl.
fn load_tables(row: u32, last: u32, lane: Lane) {
    for (var i = lane.index; i < ROWS * LEVELS; i += WORKGROUP) {
        table[i] = tables[min(row + i / LEVELS, last) * LEVELS + i % LEVELS];
    }
}

fn values(r: u32, codes: Codes, k: u32) -> Weights {
    let at = vec4<u32>(r * LEVELS) + quad(codes, k);
    return Weights(
        vec4<f32>(vec4<f16>(table[at.x], table[at.y])),
        vec4<f32>(vec4<f16>(table[at.z], table[at.w])),
    );
}
