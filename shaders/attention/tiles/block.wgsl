// Products of a tile of 64 query rows and 64 keys by 128 lanes, each with 4 rows and 8 keys in registers.
//
// Lanes are 16 teams of 8. A team has four neighbouring rows, one a component of its vectors; a lane of it
// has every eighth key. Numbers come to workgroup memory DEPTH quads at a time.
// Sibling: matrix.wgsl.
// Expects: const DEPTH, HEAD_QUADS, ROW_PIECES; tiles/params.wgsl, a part with key_row, a part with
// tensor_row, an element_*.wgsl, a q_*.wgsl, lib/products.wgsl; alias Logits = vec4<f32>.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

const LANES: u32 = 128u;
const TILE: u32 = 64u;
// Pieces of a key that are staged at a time.
const PIECES: u32 = DEPTH / QUADS;
const KEYS_AT: u32 = 512u;

// Queries and keys [DEPTH, 64] each; or what else a kernel needs between two tiles.
var<workgroup> pool: array<vec4<f32>, 1024>;

// Of four rows: numbers of one quad, or the sums of a quad's four columns.
struct Four {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

// Of eight keys, four rows each.
struct Block {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
    g: vec4<f32>,
    h: vec4<f32>,
}

fn add_four(sums: vec4<f32>, rows: Four, key: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        add_products(sums.x, rows.a, key),
        add_products(sums.y, rows.b, key),
        add_products(sums.z, rows.c, key),
        add_products(sums.w, rows.d, key),
    );
}

// Places of a staged quad are in the order in which teams, or lanes of a team, read them. The exclusive or
// puts the quads that neighbouring lanes stage into different banks.
fn stage_queries(head: u32, first_row: u32, first_quad: u32, index: u32) {
    for (var unit = index; unit < TILE * DEPTH; unit += LANES) {
        let at = unit % DEPTH;
        let place = unit / DEPTH;
        let row = first_row + place % 16u * 4u + place / 16u;
        // Past the last row there is the last one's again.
        let begin = query_row(head, min(row, query_rows() - 1u)) * HEAD_QUADS;
        var quad = vec4<f32>(0.0);
        // A key may end with padding.
        if first_quad + at < HEAD_QUADS {
            quad = q_quad(begin + first_quad + at);
        }
        pool[at * TILE + (place ^ at)] = quad;
    }
}

fn stage_keys(segment: Segment, first_key: u32, last_key: u32, first_quad: u32, index: u32) {
    for (var unit = index; unit < TILE * PIECES; unit += LANES) {
        let place = unit / PIECES;
        // Past the last key there is the last one's again.
        let row = tensor_row(segment, key_row(segment, min(first_key + place, last_key)));
        let piece = unit % PIECES;
        let words = keys[row * ROW_PIECES + first_quad / QUADS + piece];
        let codec = key_codec(row);
        for (var i = 0u; i < QUADS; i += 1u) {
            let at = piece * QUADS + i;
            pool[KEYS_AT + at * TILE + (place ^ at)] = decode(words, i, codec);
        }
    }
}

// The products of the rows from `first_row` and the keys from `first_key` on. To be called by all lanes;
// nothing else may be in the pool, and nothing is afterwards.
fn products(segment: Segment, first_row: u32, first_key: u32, last_key: u32, index: u32) -> Block {
    let team = index / 8u;
    let place = index % 8u;
    var sums: Block;
    for (var quad = 0u; quad < HEAD_QUADS; quad += DEPTH) {
        stage_queries(segment.head, first_row, quad, index);
        stage_keys(segment, first_key, last_key, quad, index);
        workgroupBarrier();
        for (var at = 0u; at < DEPTH; at += 1u) {
            let row = at * TILE + (team ^ at);
            let rows = Four(pool[row], pool[row + 16u], pool[row + 32u], pool[row + 48u]);
            let key = KEYS_AT + at * TILE + (place ^ at);
            sums.a = add_four(sums.a, rows, pool[key]);
            sums.b = add_four(sums.b, rows, pool[key + 8u]);
            sums.c = add_four(sums.c, rows, pool[key + 16u]);
            sums.d = add_four(sums.d, rows, pool[key + 24u]);
            sums.e = add_four(sums.e, rows, pool[key + 32u]);
            sums.f = add_four(sums.f, rows, pool[key + 40u]);
            sums.g = add_four(sums.g, rows, pool[key + 48u]);
            sums.h = add_four(sums.h, rows, pool[key + 56u]);
        }
        workgroupBarrier();
    }
    return sums;
}

// Keys `start .. end` of each of four rows.
struct Seen {
    start: vec4<u32>,
    end: vec4<u32>,
}

fn masked(x: vec4<f32>, key: u32, seen: Seen) -> vec4<f32> {
    let sees = (vec4<u32>(key) >= seen.start) & (vec4<u32>(key) < seen.end);
    return select(vec4<f32>(NO_KEY), x, sees);
}

// `key` is the block's first.
fn masked_block(x: Block, key: u32, seen: Seen) -> Block {
    return Block(
        masked(x.a, key, seen),
        masked(x.b, key + 8u, seen),
        masked(x.c, key + 16u, seen),
        masked(x.d, key + 24u, seen),
        masked(x.e, key + 32u, seen),
        masked(x.f, key + 40u, seen),
        masked(x.g, key + 48u, seen),
        masked(x.h, key + 56u, seen),
    );
}
