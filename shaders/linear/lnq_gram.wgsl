// For every row of the layer, sums of H over all pairs of labels.
//
// H is taken from its upper triangle, 32 columns at a time. Eight lanes share a row of the layer,
// four columns each; every row of H is added to the sums of the label that its input has, and those
// are then added up by the labels of the columns. What lies above the diagonal block counts twice,
// for its mirror image too.
// Expects: const LEVELS, at most 16; const ROWS = WORKGROUP / 8.

override WORKGROUP: u32 = 32u;

const QUADS: u32 = 8u;
const MASK: u32 = LEVELS - 1u;

struct Params {
    // Rows of the layer.
    rows: u32,
    // Quads of a row.
    quads: u32,
    // The first row of H that is bound, a multiple of 64, and their number, likewise.
    first: u32,
    height: u32,
    // The first row of the layer to do, and where they end.
    start: u32,
    to: u32,
    // 1 to add to what is there.
    continued: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [height, 4 * quads].
@group(0) @binding(1) var<storage, read> hessian: array<vec4<f32>>;
// [rows, quads]: four labels a word, the first one lowest.
@group(0) @binding(4) var<storage, read> labels: array<vec4<u32>>;
// [rows, LEVELS, LEVELS].
@group(0) @binding(8) var<storage, read_write> gram: array<f32>;

var<workgroup> sums: array<vec4<f32>, ROWS * LEVELS * QUADS>;
var<workgroup> pairs: array<f32, ROWS * LEVELS * LEVELS>;

// Adds four rows of H, from `at` on, to the sums of their labels.
fn add_rows(own: u32, word: u32, at: u32) {
    let a = hessian[at];
    let b = hessian[at + params.quads];
    let c = hessian[at + 2u * params.quads];
    let d = hessian[at + 3u * params.quads];
    sums[own + (word & MASK) * QUADS] += a;
    sums[own + ((word >> 8u) & MASK) * QUADS] += b;
    sums[own + ((word >> 16u) & MASK) * QUADS] += c;
    sums[own + ((word >> 24u) & MASK) * QUADS] += d;
}

// Adds H's rows `start .. to`, multiples of 16, in the quad of columns `quad`.
fn add_span(own: u32, row: u32, quad: u32, start: u32, to: u32) {
    for (var i = start; i < to; i += 16u) {
        let words = labels[(row * params.quads + i / 4u) / 4u];
        let at = (i - params.first) * params.quads + quad;
        add_rows(own, words.x, at);
        add_rows(own, words.y, at + 4u * params.quads);
        add_rows(own, words.z, at + 8u * params.quads);
        add_rows(own, words.w, at + 12u * params.quads);
    }
}

@compute @workgroup_size(WORKGROUP)
fn lnq_gram(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first_row = params.start + (group.y * groups.x + group.x) * ROWS;
    if first_row >= params.to {
        return;
    }
    let place = index / QUADS;
    let lane = index % QUADS;
    // Lanes past the last row go along with it and write nothing.
    let row = min(first_row + place, params.to - 1u);
    let own = place * LEVELS * QUADS + lane;
    let own_pairs = place * LEVELS * LEVELS;
    for (var pair = lane; pair < LEVELS * LEVELS; pair += QUADS) {
        pairs[own_pairs + pair] = 0.0;
    }
    let end = params.first + params.height;
    for (var col = params.first; col < 4u * params.quads; col += 32u) {
        for (var q = 0u; q < LEVELS; q += 1u) {
            sums[own + q * QUADS] = vec4<f32>();
        }
        let quad = col / 4u + lane;
        add_span(own, row, quad, params.first, min(col, end));
        for (var q = 0u; q < LEVELS; q += 1u) {
            sums[own + q * QUADS] *= 2.0;
        }
        if col < end {
            add_span(own, row, quad, col, col + 32u);
        }
        workgroupBarrier();
        for (var q = lane; q < LEVELS; q += QUADS) {
            for (var step = 0u; step < 32u; step += 1u) {
                // Each lane begins at another quad, in other banks.
                let at = (step + 4u * lane) % 32u;
                let words = labels[(row * params.quads + (col + at) / 4u) / 4u];
                let label = (words[(col + at) / 4u % 4u] >> (8u * (at % 4u))) & MASK;
                let sum = sums[(place * LEVELS + q) * QUADS + at / 4u][at % 4u];
                pairs[own_pairs + q * LEVELS + label] += sum;
            }
        }
        workgroupBarrier();
    }
    if first_row + place < params.to {
        for (var pair = lane; pair < LEVELS * LEVELS; pair += QUADS) {
            let at = row * LEVELS * LEVELS + pair;
            var sum = pairs[own_pairs + pair];
            if params.continued != 0u {
                sum += gram[at];
            }
            gram[at] = sum;
        }
    }
}
