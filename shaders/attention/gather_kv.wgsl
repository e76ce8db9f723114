// Rows of one cache copied into another, as they are stored.
//
// A workgroup copies as many rows of the lists as it has lanes: each lane finds out where one of them
// lies on both sides, then all copy all of them, neighbours neighbouring units.

struct Params {
    // Rows of all lists.
    rows: u32,
    heads: u32,
    // Of each cache: rows of its tensors, entries of its page table, rows of a page (0 without).
    from_rows: u32,
    to_rows: u32,
    from_entries: u32,
    to_entries: u32,
    from_page_rows: u32,
    to_page_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [heads]: first row or entry of the page table, kept rows.
@group(0) @binding(1) var<storage, read> from_heads: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> from_pages: array<u32>;
@group(0) @binding(3) var<storage, read> to_heads: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> to_pages: array<u32>;
// [heads + 1], where each head's list begins, and all lists.
@group(0) @binding(5) var<storage, read> first: array<u32>;
@group(0) @binding(6) var<storage, read> rows: array<u32>;
// [rows, UNITS] each.
@group(0) @binding(FROM) var<storage, read> src: array<Unit>;
@group(0) @binding(TO) var<storage, read_write> dst: array<Unit>;

const NOWHERE: u32 = 0xffffffffu;

// Rows of both tensors.
var<workgroup> places: array<vec2<u32>, LANES>;

// The head in whose list entry `at` is: the last one that begins at or before it.
fn head_of(at: u32) -> u32 {
    var low = 0u;
    var high = params.heads;
    while high - low > 1u {
        let middle = low + (high - low) / 2u;
        if first[middle] <= at {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

fn from_row(head: u32, row: u32) -> u32 {
    let begin = from_heads[head].x;
    if params.from_page_rows == 0u {
        return begin + row;
    }
    let entry = min(begin + row / params.from_page_rows, params.from_entries - 1u);
    return from_pages[entry] * params.from_page_rows + row % params.from_page_rows;
}

fn to_row(head: u32, row: u32) -> u32 {
    let begin = to_heads[head].x;
    if params.to_page_rows == 0u {
        return begin + row;
    }
    let entry = min(begin + row / params.to_page_rows, params.to_entries - 1u);
    return to_pages[entry] * params.to_page_rows + row % params.to_page_rows;
}

@compute @workgroup_size(LANES)
fn gather_kv(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let tile = (group.y * groups.x + group.x) * LANES;
    let at = tile + index;
    var place = vec2<u32>(NOWHERE, NOWHERE);
    if at < params.rows {
        let head = head_of(at);
        let both = vec2<u32>(from_row(head, rows[at]), to_row(head, at - first[head]));
        // Whatever the lists say, nothing is touched beyond the caches.
        if both.x < params.from_rows && both.y < params.to_rows {
            place = both;
        }
    }
    places[index] = place;
    workgroupBarrier();
    let units = LANES * UNITS;
    for (var unit = index; unit < units; unit += LANES) {
        let row = places[unit / UNITS];
        if row.x != NOWHERE {
            let within = unit % UNITS;
            dst[row.y * UNITS + within] = src[row.x * UNITS + within];
        }
    }
}
