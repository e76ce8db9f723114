// Keys are all rows of a head, the new ones at its end. Siblings: keys_spans.wgsl, keys_chunk.wgsl.

// Keys that a new token sees: the causal rule aligned at the bottom right.
fn end_of(segment: Segment, token: u32) -> u32 {
    return max(segment.len + token + 1u, params.q_len) - params.q_len;
}

// The row that a key is, counted within the head.
fn key_row(segment: Segment, key: u32) -> u32 {
    return key;
}
