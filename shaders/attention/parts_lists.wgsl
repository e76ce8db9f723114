// The parts of a list are those that workgroups had of it. Siblings: parts_lists_rest.wgsl, parts_slots.wgsl.

// [lists][params.slots][ROWS][STATE_QUADS].
@group(0) @binding(8) var<storage, read> states: array<vec4<f32>>;

fn parts_of(list: u32) -> vec2<u32> {
    return vec2<u32>(0u, params.slots);
}

// m in base 2, and l.
fn part_sums(part: u32, list: u32, row: u32) -> vec2<f32> {
    return states[state_at(list * params.slots + part, row) + HEAD_QUADS].xy;
}

fn part_quad(part: u32, list: u32, row: u32, quad: u32) -> vec4<f32> {
    return states[state_at(list * params.slots + part, row) + quad];
}

// There is no list without parts.
fn direct_sums(list: u32, row: u32) -> vec2<f32> {
    return vec2<f32>(NO_KEY, 0.0);
}
