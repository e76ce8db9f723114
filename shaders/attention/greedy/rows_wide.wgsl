// Rows of sorted elements, of u32. Sibling: rows_narrow.wgsl.

@group(0) @binding(13) var<storage, read> order: array<vec4<u32>>;

// Of a vector of eight elements.
fn rows_of(vector: u32) -> array<u32, 8> {
    let first = order[2u * vector];
    let second = order[2u * vector + 1u];
    var rows: array<u32, 8>;
    for (var k = 0u; k < 4u; k += 1u) {
        rows[k] = first[k];
        rows[4u + k] = second[k];
    }
    return rows;
}
