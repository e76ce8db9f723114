// Rows of a head lie in pages. Sibling: rows_contiguous.wgsl.

fn tensor_row(segment: Segment, key: u32) -> u32 {
    let page = schedule[params.pages + segment.first + key / params.page_rows];
    return page * params.page_rows + key % params.page_rows;
}
