// Where the columns of an index lie: two vectors a head.

@group(0) @binding(10) var<storage, read> index_map: array<vec4<u32>>;

struct Columns {
    // Element at which the first column begins, and from a column to the next.
    first: u32,
    stride: u32,
    // Rows covered, and those that were before the last extension.
    rows: u32,
    from_row: u32,
    // What a search may take.
    budget: u32,
}

fn columns_of(head: u32) -> Columns {
    let places = index_map[2u * head];
    return Columns(places.x, places.y, places.z, places.w, index_map[2u * head + 1u].x);
}
