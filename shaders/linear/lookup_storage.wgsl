// The tables of a workgroup's rows where they lie, one lookup a weight through the cache: for
// tables that workgroup memory cannot hold.
// Siblings: lookup_single.wgsl, lookup_half.wgsl, lookup_pair.wgsl.

// log2 of an entry's bytes where the table is f32; f16 tables are read two entries a word.
const ENTRY_SHIFT: u32 = 2u;

var<private> first_table: u32;
var<private> last_table: u32;

// As in lookup_single.wgsl; nothing is loaded.
fn load_tables(row: u32, last: u32, lane: Lane) {
    first_table = row;
    last_table = last;
}

fn values(r: u32, codes: Codes, k: u32) -> vec4<f32> {
    let base = min(first_table + r, last_table) * LEVELS;
    let at = quad(codes, k);
    return vec4<f32>(
        table_entry(base + at.x),
        table_entry(base + at.y),
        table_entry(base + at.z),
        table_entry(base + at.w),
    );
}

fn matched(x: vec4<f32>) -> vec4<f32> {
    return x;
}
