// The states of all parts of a query row, put together: m = max m_i over parts with keys,
// o = sum 2^(m_i - m) o_i / sum 2^(m_i - m) l_i.
//
// A workgroup makes one query row of one head. Lanes are PARTS teams of HEAD_QUADS: a team takes every
// PARTS-th part, a lane of it a quad; what the teams have is put together in their order.

struct State {
    top: f32,
    sum: f32,
    quad: vec4<f32>,
}

var<workgroup> team_tops: array<f32, PARTS>;
var<workgroup> team_sums: array<f32, PARTS>;
var<workgroup> team_quads: array<vec4<f32>, PARTS * HEAD_QUADS>;

fn merged(a: State, b: State) -> State {
    // A state without keys changes nothing, wherever its maximum is.
    if b.sum == 0.0 {
        return a;
    }
    if a.sum == 0.0 {
        return b;
    }
    let top = max(a.top, b.top);
    let from_a = exp2(a.top - top);
    let from_b = exp2(b.top - top);
    let sum = fma(a.sum, from_a, b.sum * from_b);
    return State(top, sum, fma(a.quad, vec4<f32>(from_a), b.quad * from_b));
}

// A part's state; past the last one, that of no keys.
fn part_state(part: u32, end: u32, head: u32, row: u32, quad: u32) -> State {
    let at = min(part, end - 1u);
    let sums = part_sums(at, head, row);
    return State(sums.x, select(0.0, sums.y, part < end), part_quad(at, head, row, quad));
}

@compute @workgroup_size(LANES)
fn decode_merge(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    if number >= params.heads * ROWS {
        return;
    }
    let head = number / ROWS;
    let row = number % ROWS;
    let parts = parts_of(head);
    let team = index / HEAD_QUADS;
    let quad = index % HEAD_QUADS;
    var state = State(NO_KEY, 0.0, vec4<f32>());
    if team < PARTS {
        // Four at a time, so that their loads are under way together.
        for (var part = parts.x + team; part < parts.y; part += 4u * PARTS) {
            let a = part_state(part, parts.y, head, row, quad);
            let b = part_state(part + PARTS, parts.y, head, row, quad);
            let c = part_state(part + 2u * PARTS, parts.y, head, row, quad);
            let d = part_state(part + 3u * PARTS, parts.y, head, row, quad);
            state = merged(merged(merged(merged(state, a), b), c), d);
        }
        if quad == 0u {
            team_tops[team] = state.top;
            team_sums[team] = state.sum;
        }
        team_quads[team * HEAD_QUADS + quad] = state.quad;
    }
    workgroupBarrier();
    if team > 0u {
        return;
    }
    for (var other = 1u; other < PARTS; other += 1u) {
        let theirs = team_quads[other * HEAD_QUADS + quad];
        state = merged(state, State(team_tops[other], team_sums[other], theirs));
    }
    let at = query_row(head, row);
    if parts.x < parts.y {
        store_o(at * HEAD_QUADS + quad, state.quad / select(state.sum, 1.0, state.sum == 0.0));
    } else {
        let sums = direct_sums(head, row);
        state.top = sums.x;
        state.sum = sums.y;
    }
    if quad == 0u {
        store_lse(at, state.top, state.sum);
    }
}
