// Rows of a head lie one after the other. Sibling: rows_paged.wgsl.

fn tensor_row(segment: Segment, key: u32) -> u32 {
    return segment.first + key;
}
