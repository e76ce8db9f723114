// Rows of sorted elements, of u16 in pairs. Sibling: rows_wide.wgsl.

@group(0) @binding(13) var<storage, read> order: array<vec4<u32>>;

// Of a vector of eight elements.
fn rows_of(vector: u32) -> array<u32, 8> {
    let words = order[vector];
    var rows: array<u32, 8>;
    for (var k = 0u; k < 4u; k += 1u) {
        rows[2u * k] = words[k] & 0xffffu;
        rows[2u * k + 1u] = words[k] >> 16u;
    }
    return rows;
}
