// Tables of pairs of weights in workgroup memory as f16, for products in f16.
// Needs f16 arithmetic and tables of f16. Goes with products_f16.wgsl.

// log2 of an entry's bytes.
const ENTRY_SHIFT: u32 = 2u;

@group(0) @binding(2) var<storage, read> tables: array<f16>;

const PAIRS: u32 = LEVELS * LEVELS;

var<workgroup> table: array<vec2<f16>, ROWS * PAIRS>;

// As in lookup_pair.wgsl.
fn load_tables(row: u32, last: u32, lane: Lane) {
    for (var i = lane.index; i < ROWS * PAIRS; i += WORKGROUP) {
        let base = min(row + i / PAIRS, last) * LEVELS;
        table[i] = vec2<f16>(tables[base + i % PAIRS / LEVELS], tables[base + i % LEVELS]);
    }
}
