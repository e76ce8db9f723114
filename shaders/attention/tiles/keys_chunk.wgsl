// Keys are a chunk of a head's rows. Siblings: keys_all.wgsl, keys_spans.wgsl.

// The row that a key is, counted within the head.
fn key_row(segment: Segment, key: u32) -> u32 {
    return key + params.chunk_first;
}
