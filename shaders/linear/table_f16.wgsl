// Tables of f16, two entries a word. Sibling: table_f32.wgsl.

@group(0) @binding(2) var<storage, read> tables: array<u32>;

// Entries 2i and 2i + 1 of all rows' tables.
fn table_pair(i: u32) -> vec2<f32> {
    let word = tables[i];
    return vec2<f32>(half_to_float(word & 0xffffu), half_to_float(word >> 16u));
}

// Entry i of all rows' tables.
fn table_entry(i: u32) -> f32 {
    let word = tables[i / 2u];
    return half_to_float(select(word & 0xffffu, word >> 16u, (i & 1u) == 1u));
}
