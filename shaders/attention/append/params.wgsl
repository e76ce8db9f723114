// What appending is told, and where rows lie.

struct Params {
    // New rows: tokens times heads.
    rows: u32,
    heads: u32,
    // Heads of the input, and which of them is the cache's first.
    input_heads: u32,
    first_head: u32,
    // Rows of the cache's tensors.
    cache_rows: u32,
    // Entries of the page table, and rows of a page: 0 without pages.
    entries: u32,
    page_rows: u32,
    // Rows of the table of angles.
    angle_rows: u32,
}

// What changes from step to step.
struct Step {
    // Rows appended before.
    before: u32,
    // Position of the first new row.
    position: u32,
    // The first new row's row of the table of angles.
    angle_row: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [heads]: first row or entry of the page table, kept rows.
@group(0) @binding(3) var<storage, read> heads: array<vec2<u32>>;
// Looked at with pages only.
@group(0) @binding(4) var<storage, read> page_table: array<u32>;
@group(0) @binding(5) var<storage, read> step: Step;

// The row of the tensors in which row `row` of a head lies.
fn place_of(first: u32, row: u32) -> u32 {
    if params.page_rows == 0u {
        return first + row;
    }
    let entry = min(first + row / params.page_rows, params.entries - 1u);
    return page_table[entry] * params.page_rows + row % params.page_rows;
}
