// Keys are a head's first rows, a chunk of rows and the new rows. Siblings: keys_all.wgsl,
// keys_chunk.wgsl.

// Keys that a new token sees: all but the new ones behind it.
fn end_of(segment: Segment, token: u32) -> u32 {
    return params.sink + params.chunk + token + 1u;
}

// The row that a key is, counted within the head.
fn key_row(segment: Segment, key: u32) -> u32 {
    if key < params.sink {
        return key;
    }
    if key < params.sink + params.chunk {
        return key - params.sink + params.chunk_first;
    }
    // There are as many rows as new ones.
    return key - params.sink - params.chunk + segment.len - params.q_len;
}
