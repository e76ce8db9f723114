// The tables of a workgroup's rows in workgroup memory as f16, one lookup a weight: half the
// banks, so 7 and 8 bits collide less. Needs f16 arithmetic and tables of f16; values are exact.
// Siblings: lookup_single.wgsl, lookup_pair.wgsl, lookup_storage.wgsl.

// log2 of an entry's bytes.
const ENTRY_SHIFT: u32 = 1u;

@group(0) @binding(2) var<storage, read> tables: array<vec2<f16>>;

var<workgroup> table: array<f16, ROWS * LEVELS>;

// As in lookup_single.wgsl.
fn load_tables(row: u32, last: u32, lane: Lane) {
    for (var i = lane.index; i < ROWS * LEVELS / 2u; i += WORKGROUP) {
        let source = min(row + 2u * i / LEVELS, last);
        let pair = tables[source * (LEVELS / 2u) + i % (LEVELS / 2u)];
        table[2u * i] = pair.x;
        table[2u * i + 1u] = pair.y;
    }
}

fn values(r: u32, codes: Codes, k: u32) -> vec4<f32> {
    let base = r * LEVELS;
    let at = quad(codes, k);
    return vec4<f32>(
        f32(table[base + at.x]),
        f32(table[base + at.y]),
        f32(table[base + at.z]),
        f32(table[base + at.w]),
    );
}

fn matched(x: vec4<f32>) -> vec4<f32> {
    return x;
}
