// The parts of a list are those that workgroups had of it, and the rest of the rows, which have the mean
// value: those that nobody listed are a part, what was left out of a part's rows belongs to it.
// Sibling: parts_lists.wgsl.
// Expects: sparse/index_map.wgsl, const KV_HEADS, HEAD_LISTS, lists of a head and token.

// [lists][params.slots][ROWS][STATE_QUADS].
@group(0) @binding(8) var<storage, read> states: array<vec4<f32>>;
// [KV_HEADS][3][HEAD_QUADS]: the last of each three are sums of values.
@group(0) @binding(14) var<storage, read> sums: array<vec4<f32>>;
// [lists][ROWS]: a logarithm to base 2.
@group(0) @binding(25) var<storage, read> rest: array<f32>;

fn parts_of(list: u32) -> vec2<u32> {
    return vec2<u32>(0u, params.slots + 1u);
}

fn mean_quad(list: u32, quad: u32) -> vec4<f32> {
    let head = list / HEAD_LISTS % KV_HEADS;
    let rows = columns_of(head).rows;
    return sums[(3u * head + 2u) * HEAD_QUADS + quad] / f32(max(rows, 1u));
}

// What was left out of a part; without rows in the index there is no mean to give it.
fn left_of(list: u32, at: u32) -> f32 {
    let rows = columns_of(list / HEAD_LISTS % KV_HEADS).rows;
    return select(states[at + HEAD_QUADS].z, 0.0, rows == 0u);
}

// m in base 2, and l. What is not a number stays so.
fn part_sums(part: u32, list: u32, row: u32) -> vec2<f32> {
    if part == params.slots {
        let log = rest[list * ROWS + row];
        return vec2<f32>(log, select(1.0, 0.0, log <= NO_KEY));
    }
    let at = state_at(list * params.slots + part, row);
    let own = states[at + HEAD_QUADS];
    return vec2<f32>(own.x, own.y + left_of(list, at));
}

fn part_quad(part: u32, list: u32, row: u32, quad: u32) -> vec4<f32> {
    if part == params.slots {
        return mean_quad(list, quad);
    }
    let at = state_at(list * params.slots + part, row);
    return fma(vec4<f32>(left_of(list, at)), mean_quad(list, quad), states[at + quad]);
}

// There is no list without parts.
fn direct_sums(list: u32, row: u32) -> vec2<f32> {
    return vec2<f32>(NO_KEY, 0.0);
}
