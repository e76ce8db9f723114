// Tables of pairs of weights in workgroup memory as f32: one lookup for two weights.
// Siblings: lookup_single.wgsl, lookup_half.wgsl, lookup_storage.wgsl.

const PAIRS: u32 = LEVELS * LEVELS;

// log2 of an entry's bytes.
const ENTRY_SHIFT: u32 = 3u;

var<workgroup> table: array<vec2<f32>, ROWS * PAIRS>;

// Builds the pair tables of rows `row` .. `row + ROWS`; rows past `last` as in lookup_single.wgsl.
// Entry `a * LEVELS + b` holds the weights of codes a and b.
fn load_tables(row: u32, last: u32, lane: Lane) {
    for (var i = lane.index; i < ROWS * PAIRS; i += WORKGROUP) {
        let base = min(row + i / PAIRS, last) * LEVELS;
        let a = i % PAIRS / LEVELS;
        let b = i % LEVELS;
        table[i] = vec2<f32>(table_entry(base + a), table_entry(base + b));
    }
}

// Weights 4k .. 4k + 3 of a word of row `r` of the workgroup, in the order of `matched`.
fn values(r: u32, codes: Codes, k: u32) -> vec4<f32> {
    let at = pairs(codes, k);
    return vec4<f32>(table[r * PAIRS + at.x], table[r * PAIRS + at.y]);
}

// Activations in the order of `values`: two planes pair neighbours, more pair every other weight.
fn matched(x: vec4<f32>) -> vec4<f32> {
    if BITS == 2u {
        return x;
    }
    return x.zxwy;
}
