// What `attend_rows` and `attend_scored` are told, and where states lie.
// Expects: const ROWS, query rows of a list, HEAD_QUADS = head dimension / 4.

struct Params {
    lists: u32,
    // Parts of a list: a workgroup has one.
    splits: u32,
    // Words of a list.
    capacity: u32,
    // What is kept has a logit in base 2 of at least the largest less so much.
    keep: f32,
    // A logit in base 2 is `outer` times the dot product; under a softcap `outer tanh(inner dot)`.
    inner: f32,
    outer: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

// `m` of a state without keys: no infinity, which compilers may assume not to be.
const NO_KEY: f32 = -1e30;
// Of vec4<f32>: o, then m, l, what was left out, and how many rows were kept.
const STATE_QUADS: u32 = HEAD_QUADS + 1u;

// [lists][capacity]: rows of the tensors.
@group(0) @binding(19) var<storage, read> lists: array<u32>;
// [lists]: the first of each four is how many rows a list has.
@group(0) @binding(20) var<storage, read> counts: array<vec4<u32>>;
// [lists][splits][ROWS][STATE_QUADS].
@group(0) @binding(8) var<storage, read_write> states: array<vec4<f32>>;

// A part of a list.
struct Segment {
    // The list.
    head: u32,
    // Places in it.
    start: u32,
    end: u32,
    slot: u32,
}

fn segment_of(number: u32) -> Segment {
    let list = number / params.splits;
    let split = number % params.splits;
    let count = min(counts[list].x, params.capacity);
    let each = count / params.splits;
    let more = count % params.splits;
    let start = each * split + min(split, more);
    return Segment(list, start, start + each + select(0u, 1u, split < more), number);
}

fn query_row(list: u32, row: u32) -> u32 {
    return list * ROWS + row;
}

fn state_at(slot: u32, row: u32) -> u32 {
    return (slot * ROWS + row) * STATE_QUADS;
}

fn store_quad(segment: Segment, row: u32, quad: u32, value: vec4<f32>, sum: f32) {
    states[state_at(segment.slot, row) + quad] = value;
}
