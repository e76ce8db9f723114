// Outputs of heads that one segment is all of, and partial states of the others.
// Expects: decode_segments.wgsl, a part with store_o, const LSE, whether sums of heads that are
// written directly are asked for.

@group(0) @binding(8) var<storage, read_write> states: array<vec4<f32>>;

// `sum` is what the weights in `value` add up to.
fn store_quad(segment: Segment, row: u32, quad: u32, value: vec4<f32>, sum: f32) {
    if segment.slot == DIRECT {
        let at = query_row(segment.head, row) * HEAD_QUADS + quad;
        // Without keys 0 is stored.
        store_o(at, value / select(sum, 1.0, sum == 0.0));
    } else {
        states[state_at(segment.slot, row) + quad] = value;
    }
}

fn store_sum(segment: Segment, row: u32, top: f32, sum: f32) {
    let both = vec4<f32>(top, sum, 0.0, 0.0);
    if segment.slot != DIRECT {
        states[state_at(segment.slot, row) + HEAD_QUADS] = both;
    } else if LSE {
        states[direct_at(segment.head, row)] = both;
    }
}
