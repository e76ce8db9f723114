// Tables of f32. Sibling: table_f16.wgsl.

@group(0) @binding(2) var<storage, read> tables: array<vec2<f32>>;

// Entries 2i and 2i + 1 of all rows' tables.
fn table_pair(i: u32) -> vec2<f32> {
    return tables[i];
}

// Entry i of all rows' tables.
fn table_entry(i: u32) -> f32 {
    let pair = tables[i / 2u];
    return select(pair.x, pair.y, (i & 1u) == 1u);
}
