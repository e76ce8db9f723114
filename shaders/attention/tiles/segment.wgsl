// Where the rows of a head lie.
// Expects: tiles/params.wgsl.

// appended, 3 unused words; first row or page and kept rows of each head [H][2]; starts [q_len][H]; page
// table. Parts that decoding has too call it the schedule.
@group(0) @binding(6) var<storage, read> schedule: array<u32>;

// A KV head.
struct Segment {
    head: u32,
    // Where it begins, and all of its rows.
    first: u32,
    len: u32,
}

fn segment_of(head: u32) -> Segment {
    return Segment(head, schedule[4u + 2u * head], schedule[5u + 2u * head] + schedule[0]);
}
