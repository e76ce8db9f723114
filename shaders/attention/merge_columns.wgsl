// Sorted runs of columns merged by twos. A workgroup makes 1024 neighbouring elements at a time: it finds out
// which ones of either run they are, reads them, and a lane puts four in order. Among equal numbers those of
// the first run come first, whose rows are lower.
// Expects: const SORTED_IN, ORDER_IN: numbers of bindings; sparse/index_map.wgsl, sparse/sorted_words.wgsl, a
// part with put_order, a part with row_in.

struct Params {
    heads: u32,
    dim: u32,
    // Tiles of a column that there are workgroups for: each goes on to the next as many further.
    tiles: u32,
    // Elements of a run, from the first new row on, a multiple of 512; or JOINED or ALL.
    width: u32,
}

// Two runs, that of the rows before and that of the new ones.
const JOINED: u32 = 0u;
// One run of all rows.
const ALL: u32 = 0xffffffffu;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(SORTED_IN) var<storage, read> sorted_in: array<u32>;

const LANES: u32 = 256u;
const TILE: u32 = 1024u;
// Lanes that look for one end of a tile.
const TEAM: u32 = 128u;
// Enough for 2^31 elements.
const ROUNDS: u32 = 5u;

var<workgroup> keys: array<u32, TILE>;
var<workgroup> rows: array<u32, TILE>;
var<workgroup> before: array<atomic<u32>, 2u * ROUNDS>;
var<workgroup> ends: array<u32, 2>;

// Two runs of a column, one behind the other: where the first begins, and their lengths.
struct Pair {
    begin: u32,
    a: u32,
    b: u32,
}

fn key_at(element: u32) -> u32 {
    return key_of((sorted_in[element / 2u] >> (16u * (element & 1u))) & 0xffffu);
}

// The runs that row `at` is of; they end before `end`.
fn pair_of(at: u32, first: u32, end: u32) -> Pair {
    if params.width == JOINED {
        return Pair(0u, first, end - first);
    }
    if params.width == ALL {
        return Pair(0u, end, 0u);
    }
    let begin = first + (at - first) / (2u * params.width) * (2u * params.width);
    let a = min(params.width, end - begin);
    return Pair(begin, a, min(params.width, end - begin - a));
}

// Finds how many of the first run are among the first `ahead` elements of both, by teams: one for the
// begin of a tile, one for its end. To be called by all lanes.
fn find_ends(element: u32, pair: Pair, ahead: vec2<u32>, index: u32) {
    if index < 2u * ROUNDS {
        atomicStore(&before[index], 0u);
    }
    workgroupBarrier();
    let team = index / TEAM;
    let own = select(ahead.x, ahead.y, team == 1u);
    var low = select(own - pair.b, 0u, own < pair.b);
    var high = min(own, pair.a);
    var round = team;
    // As much as is left to either team at most.
    for (var most = min(pair.a, pair.b); most > 0u; most = (most - 1u) / TEAM) {
        let step = (high - low + TEAM - 1u) / TEAM;
        let at = low + index % TEAM * step;
        if at < high {
            let a = key_at(element + at);
            let b = key_at(element + pair.a + own - 1u - at);
            if a <= b {
                atomicAdd(&before[round], 1u);
            }
        }
        workgroupBarrier();
        // All up to a place are.
        let found = atomicLoad(&before[round]);
        high = min(low + found * step, high);
        if found > 0u {
            low += (found - 1u) * step + 1u;
        }
        round += 2u;
    }
    if index % TEAM == 0u {
        ends[team] = low;
    }
    workgroupBarrier();
}

@compute @workgroup_size(LANES)
fn merge_columns(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    let column = number / params.tiles;
    if column >= params.heads * params.dim {
        return;
    }
    let place = columns_of(column / params.dim);
    let base = place.first + column % params.dim * place.stride;
    let whole = params.width == JOINED || params.width == ALL;
    let first = select(place.from_row, 0u, whole);
    for (var tile = first + number % params.tiles * TILE; tile < place.rows;
        tile += params.tiles * TILE) {
        let pair = pair_of(tile, place.from_row, place.rows);
        let element = base + pair.begin;
        let ahead = tile - pair.begin;
        let count = min(TILE, pair.a + pair.b - ahead);
        find_ends(element, pair, vec2<u32>(ahead, ahead + count), index);
        let first_a = ends[0];
        let first_b = pair.a + ahead - first_a;
        // Of the tile, those of the first run.
        let a = ends[1] - first_a;
        for (var at = index; at < count; at += LANES) {
            let source = element + select(first_b + at - a, first_a + at, at < a);
            keys[at] = key_at(source);
            rows[at] = row_in(source);
        }
        workgroupBarrier();
        let own = 4u * index;
        if own < count {
            let b = count - a;
            var low = select(own - b, 0u, own < b);
            var high = min(own, a);
            while low < high {
                let middle = (low + high) / 2u;
                if keys[middle] <= keys[a + own - 1u - middle] {
                    low = middle + 1u;
                } else {
                    high = middle;
                }
            }
            var at_a = low;
            var at_b = a + own - low;
            // Behind the last there is a zero and nothing.
            var out_keys = vec4<u32>(0x8000u);
            var out_rows = vec4<u32>(0u);
            for (var i = 0u; i < 4u; i += 1u) {
                if own + i < count {
                    var take_a = at_b >= count;
                    if at_a < a && at_b < count {
                        take_a = keys[at_a] <= keys[at_b];
                    }
                    let next = select(at_b, at_a, take_a);
                    out_keys[i] = keys[next];
                    out_rows[i] = rows[next];
                    at_a += u32(take_a);
                    at_b += u32(!take_a);
                }
            }
            let to = base + tile + own;
            put_sorted(to, out_keys.x, out_keys.y);
            put_order(to, out_rows.x, out_rows.y, own + 1u < count);
            if own + 2u < count {
                put_sorted(to + 2u, out_keys.z, out_keys.w);
                put_order(to + 2u, out_rows.z, out_rows.w, own + 3u < count);
            }
        }
        // Before the next tile's numbers.
        workgroupBarrier();
    }
}
