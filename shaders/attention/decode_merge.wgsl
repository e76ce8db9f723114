// The states of all parts of a query row, put together: m = max m_i over parts with keys,
// o = sum 2^(m_i - m) o_i / sum 2^(m_i - m) l_i.
//
// A workgroup makes BLOCK_QUADS quads of one query row of one head. First its lanes find the maximum,
// each of every LANES-th part; then it is known and no part waits for another. Lanes are TEAMS teams of
// BLOCK_QUADS: a team takes every TEAMS-th part, a lane of it a quad, and eight parts are under way at a
// time, the first ones while the maximum is found; what the teams have is added up in their order.

var<workgroup> lane_tops: array<f32, LANES>;
var<workgroup> group_tops: array<f32, LANES / 16u>;
var<workgroup> team_sums: array<f32, TEAMS>;
var<workgroup> team_quads: array<vec4<f32>, TEAMS * BLOCK_QUADS>;

struct Sums {
    sum: f32,
    quad: vec4<f32>,
}

struct Entry {
    // m and l.
    sums: vec2<f32>,
    quad: vec4<f32>,
}

// A part; past the last one without keys.
fn entry(part: u32, end: u32, head: u32, row: u32, quad: u32) -> Entry {
    var found = Entry(vec2<f32>(NO_KEY, 0.0), vec4<f32>(0.0));
    if part < end {
        found = Entry(part_sums(part, head, row), part_quad(part, head, row, quad));
    }
    return found;
}

// Every TEAMS-th part from one on.
struct Entries {
    a: Entry,
    b: Entry,
    c: Entry,
    d: Entry,
    e: Entry,
    f: Entry,
    g: Entry,
    h: Entry,
}

fn entries(part: u32, end: u32, head: u32, row: u32, quad: u32) -> Entries {
    return Entries(
        entry(part, end, head, row, quad),
        entry(part + TEAMS, end, head, row, quad),
        entry(part + 2u * TEAMS, end, head, row, quad),
        entry(part + 3u * TEAMS, end, head, row, quad),
        entry(part + 4u * TEAMS, end, head, row, quad),
        entry(part + 5u * TEAMS, end, head, row, quad),
        entry(part + 6u * TEAMS, end, head, row, quad),
        entry(part + 7u * TEAMS, end, head, row, quad),
    );
}

fn added(before: Sums, found: Entry, top: f32) -> Sums {
    // A state without keys changes nothing, wherever its maximum is.
    if found.sums.y == 0.0 {
        return before;
    }
    let factor = exp2(found.sums.x - top);
    return Sums(
        fma(found.sums.y, factor, before.sum),
        fma(found.quad, vec4<f32>(factor), before.quad),
    );
}

fn all_added(before: Sums, found: Entries, top: f32) -> Sums {
    let four = added(added(added(added(before, found.a, top), found.b, top), found.c, top), found.d, top);
    return added(added(added(added(four, found.e, top), found.f, top), found.g, top), found.h, top);
}

// The largest maximum of parts with keys. To be called by all lanes.
fn top_of(parts: vec2<u32>, head: u32, row: u32, index: u32) -> f32 {
    var own = NO_KEY;
    for (var part = parts.x + index; part < parts.y; part += LANES) {
        let sums = part_sums(part, head, row);
        own = select(max(own, sums.x), own, sums.y == 0.0);
    }
    lane_tops[index] = own;
    workgroupBarrier();
    if index < LANES / 16u {
        for (var i = 0u; i < 16u; i += 1u) {
            own = max(own, lane_tops[16u * index + i]);
        }
        group_tops[index] = own;
    }
    workgroupBarrier();
    var top = NO_KEY;
    for (var i = 0u; i < LANES / 16u; i += 1u) {
        top = max(top, group_tops[i]);
    }
    return top;
}

@compute @workgroup_size(LANES)
fn decode_merge(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    if number >= params.heads * ROWS * BLOCKS {
        return;
    }
    let head = number / (ROWS * BLOCKS);
    let row = number / BLOCKS % ROWS;
    let block = number % BLOCKS;
    let parts = parts_of(head);
    let team = index / BLOCK_QUADS;
    let place = index % BLOCK_QUADS;
    let quad = block * BLOCK_QUADS + place;
    // Lanes that are left over have no parts.
    var part = select(parts.y, parts.x + team, team < TEAMS);
    var found = entries(part, parts.y, head, row, quad);
    let top = top_of(parts, head, row, index);
    var state = Sums(0.0, vec4<f32>(0.0));
    if team < TEAMS {
        while part < parts.y {
            state = all_added(state, found, top);
            part += 8u * TEAMS;
            found = entries(part, parts.y, head, row, quad);
        }
        if place == 0u {
            team_sums[team] = state.sum;
        }
        team_quads[team * BLOCK_QUADS + place] = state.quad;
    }
    workgroupBarrier();
    if team > 0u {
        return;
    }
    for (var other = 1u; other < TEAMS; other += 1u) {
        state.sum += team_sums[other];
        state.quad += team_quads[other * BLOCK_QUADS + place];
    }
    let at = query_row(head, row);
    var sums = vec2<f32>(top, state.sum);
    if parts.x < parts.y {
        store_o(at * HEAD_QUADS + quad, state.quad / select(state.sum, 1.0, state.sum == 0.0));
    } else {
        sums = direct_sums(head, row);
    }
    if quad == 0u {
        store_lse(at, sums.x, sums.y);
    }
}
