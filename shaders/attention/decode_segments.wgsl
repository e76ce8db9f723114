// Segments, and which of their rows a query sees.
// Expects: decode_params.wgsl, const WINDOWED, whether queries see rows from `starts` on only.

struct Segment {
    head: u32,
    // Rows that some query sees, counted within the head.
    start: u32,
    end: u32,
    slot: u32,
    // Where the head begins, and all of its rows.
    first: u32,
    len: u32,
}

struct Span {
    start: u32,
    end: u32,
}

fn segment_of(number: u32) -> Segment {
    let at = params.segments + 4u * number;
    let head = schedule[at];
    let first = schedule[params.head_rows + 2u * head];
    let len = schedule[params.head_rows + 2u * head + 1u] + schedule[0];
    var start = schedule[at + 1u];
    if WINDOWED {
        // The oldest token sees the oldest rows.
        start = max(start, schedule[params.starts + head]);
    }
    return Segment(head, start, min(schedule[at + 2u], len), schedule[at + 3u], first, len);
}

// The rows of a segment that a query row sees: the causal rule aligned at the bottom right.
fn seen(segment: Segment, row: u32) -> Span {
    let token = row / GROUP;
    let end = min(segment.end, max(segment.len + token + 1u, Q_LEN) - Q_LEN);
    var start = segment.start;
    if WINDOWED {
        start = max(start, schedule[params.starts + token * params.heads + segment.head]);
    }
    return Span(start, end);
}

fn inside(span: Span, key: u32) -> bool {
    return key >= span.start && key < span.end;
}
