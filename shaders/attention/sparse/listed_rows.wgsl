// All query rows of a list see all of its rows.
// Expects: sparse/attend_params.wgsl.

struct Span {
    start: u32,
    end: u32,
}

fn seen(segment: Segment, row: u32) -> Span {
    return Span(segment.start, segment.end);
}

fn inside(span: Span, key: u32) -> bool {
    return key >= span.start && key < span.end;
}

fn tensor_row(segment: Segment, key: u32) -> u32 {
    return lists[segment.head * params.capacity + key];
}

fn store_sum(segment: Segment, row: u32, top: f32, sum: f32) {
    let kept = f32(segment.end - segment.start);
    states[state_at(segment.slot, row) + HEAD_QUADS] = vec4<f32>(top, sum, 0.0, kept);
}
