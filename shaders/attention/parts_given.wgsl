// The parts of every head are given, divided by their sums already. Sibling: parts_slots.wgsl.

// [parts, q_len, H G, D], and their natural logarithms [parts, q_len, H G].
@group(0) @binding(1) var<storage, read> given_o: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> given_lse: array<f32>;

fn parts_of(head: u32) -> vec2<u32> {
    return vec2<u32>(0u, params.slots);
}

fn given_row(part: u32, head: u32, row: u32) -> u32 {
    return part * params.heads * ROWS + query_row(head, row);
}

// m in base 2, and l: all there is of a part counts once. What is not a number stays so.
fn part_sums(part: u32, head: u32, row: u32) -> vec2<f32> {
    let log = given_lse[given_row(part, head, row)];
    let sum = select(select(log, 1.0, log > NO_KEY), 0.0, log <= NO_KEY);
    return vec2<f32>(log * 1.4426950408889634, sum);
}

fn part_quad(part: u32, head: u32, row: u32, quad: u32) -> vec4<f32> {
    return given_o[given_row(part, head, row) * HEAD_QUADS + quad];
}

// There is no head without parts.
fn direct_sums(head: u32, row: u32) -> vec2<f32> {
    return vec2<f32>(NO_KEY, 0.0);
}
