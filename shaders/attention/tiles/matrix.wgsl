// Products of 64 vectors that a workgroup keeps, 16 by each of 4 subgroups, and 64 others, by cooperative
// matrices of 16 x 16, f16 in and f32 sums. What is kept lies in matrices from the first to the last, so one
// tile in workgroup memory is for everything else. The index arithmetic is tested by a copy of it in Rust.
//
// Products of a subgroup lie in its own part of `scores`, others side by side, each with the subgroup's 16
// vectors. A lane has one of those, and every second of the others: the lane 16 further the rest of them.
// Sibling of block.wgsl, with the same masks.
// Expects: const HEAD_QUADS, ROW_PIECES; tiles/params.wgsl, a part with key_row, a part with tensor_row, an
// element_*.wgsl and a q_*.wgsl of numbers that f16 holds; a factor_*.wgsl; alias Logits = vec4<f32>.

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) own: u32,
}

const LANES: u32 = 128u;
const TILE: u32 = 64u;
// From vector to vector: 16 bytes more keep neighbours out of each other's banks and matrices aligned.
const PITCH: u32 = 4u * HEAD_QUADS + 8u;
// Pieces of a tile that a lane loads.
const AHEAD: u32 = (ROW_PIECES + 1u) / 2u;

var<workgroup> tile: array<f16, TILE * PITCH>;
// [4 subgroups, 64 others, 16].
var<workgroup> scores: array<f32, 4096>;

// Thirty-two others, two apart.
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

alias Ahead = array<vec4<u32>, AHEAD>;

// Which of the workgroup's vectors a lane has.
fn kept_place(lane: Lane) -> u32 {
    return 16u * lane.subgroup + lane.own % 16u;
}

fn put_quad(place: u32, quad: u32, value: vec4<f32>) {
    let at = place * PITCH + 4u * quad;
    let halves = vec4<f16>(value);
    tile[at] = halves.x;
    tile[at + 1u] = halves.y;
    tile[at + 2u] = halves.z;
    tile[at + 3u] = halves.w;
}

fn stage_queries(head: u32, first_row: u32, index: u32) {
    for (var unit = index; unit < TILE * HEAD_QUADS; unit += LANES) {
        let place = unit / HEAD_QUADS;
        let quad = unit % HEAD_QUADS;
        // Past the last row there is the last one's again.
        let row = min(first_row + place, query_rows() - 1u);
        put_quad(place, quad, q_quad(query_row(head, row) * HEAD_QUADS + quad));
    }
}

// The row of the tensors in which a key of a tile lies; past the last key the last one's.
fn row_of(segment: Segment, first_key: u32, last_key: u32, place: u32) -> u32 {
    return tensor_row(segment, key_row(segment, min(first_key + place, last_key)));
}

fn load_keys(segment: Segment, first_key: u32, last_key: u32, index: u32) -> Ahead {
    var ahead: Ahead;
    for (var i = 0u; i < AHEAD; i += 1u) {
        let unit = index + i * LANES;
        let row = row_of(segment, first_key, last_key, min(unit / ROW_PIECES, TILE - 1u));
        ahead[i] = keys[row * ROW_PIECES + unit % ROW_PIECES];
    }
    return ahead;
}

// Codes of keys: what they are multiplied with comes later.
fn stage_keys(ahead: Ahead, index: u32) {
    var pieces = ahead;
    for (var i = 0u; i < AHEAD; i += 1u) {
        let unit = index + i * LANES;
        if unit < TILE * ROW_PIECES {
            let place = unit / ROW_PIECES;
            for (var at = 0u; at < QUADS; at += 1u) {
                put_quad(place, unit % ROW_PIECES * QUADS + at, codes(pieces[i], at));
            }
        }
    }
}

fn four_at(at: u32) -> vec4<f32> {
    return vec4<f32>(scores[at], scores[at + 32u], scores[at + 64u], scores[at + 96u]);
}

// A lane's products.
fn block_of(lane: Lane) -> Block {
    let at = 1024u * lane.subgroup + lane.own;
    return Block(
        four_at(at), four_at(at + 128u), four_at(at + 256u), four_at(at + 384u),
        four_at(at + 512u), four_at(at + 640u), four_at(at + 768u), four_at(at + 896u),
    );
}

// Keys `start .. end`, four times the same.
struct Seen {
    start: vec4<u32>,
    end: vec4<u32>,
}

fn masked(x: vec4<f32>, key: u32, seen: Seen) -> vec4<f32> {
    let four = vec4<u32>(key) + vec4<u32>(0u, 2u, 4u, 6u);
    let sees = (four >= seen.start) & (four < seen.end);
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

// The largest of a lane's 32.
fn largest_of(x: Block) -> f32 {
    let four = largest(x);
    return max(max(four.x, four.y), max(four.z, four.w));
}

fn sum_of(x: vec4<f32>) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

fn powers(x: Block, base: f32) -> Block {
    let b = vec4<f32>(base);
    return Block(
        exp2(x.a - b), exp2(x.b - b), exp2(x.c - b), exp2(x.d - b),
        exp2(x.e - b), exp2(x.f - b), exp2(x.g - b), exp2(x.h - b),
    );
}

fn sum_of_block(x: Block) -> f32 {
    return sum_of(((x.a + x.b) + (x.c + x.d)) + ((x.e + x.f) + (x.g + x.h)));
}
