// The parts of a head are its slots. Sibling: parts_given.wgsl.

// [slots, ROWS, STATE_QUADS], then m and l of heads written directly [H, ROWS].
@group(0) @binding(8) var<storage, read> states: array<vec4<f32>>;

fn parts_of(head: u32) -> vec2<u32> {
    return vec2<u32>(schedule[params.head_slots + head], schedule[params.head_slots + head + 1u]);
}

// m in base 2, and l.
fn part_sums(part: u32, head: u32, row: u32) -> vec2<f32> {
    return states[state_at(part, row) + HEAD_QUADS].xy;
}

fn part_quad(part: u32, head: u32, row: u32, quad: u32) -> vec4<f32> {
    return states[state_at(part, row) + quad];
}

// Of a head without slots; only where its lse is asked for.
fn direct_sums(head: u32, row: u32) -> vec2<f32> {
    if !LSE {
        return vec2<f32>(NO_KEY, 0.0);
    }
    return states[direct_at(head, row)].xy;
}
