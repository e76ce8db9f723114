// Adds what a greedy search takes of each column to its rows. Several workgroups have a query row: its runs
// are cut into vectors of eight elements, and these are shared out evenly.
// Expects: const DIM, const EACH (runs of a lane), const SLICES (workgroups of a query row).

struct Params {
    query_rows: u32,
    // KV heads, and query heads of each.
    heads: u32,
    group: u32,
    // Hits from one query row to the next.
    stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [query_rows][DIM][2]: where a run begins and its length, of the largest and of the smallest.
@group(0) @binding(16) var<storage, read> runs: array<vec2<u32>>;
@group(0) @binding(17) var<storage, read> found: array<vec4<u32>>;
@group(0) @binding(18) var<storage, read_write> hits: array<atomic<i32>>;

const RUNS: u32 = 256u * EACH;

var<workgroup> factors: array<f32, RUNS>;
var<workgroup> begins: array<u32, RUNS>;
var<workgroup> ends: array<u32, RUNS>;
var<workgroup> vectors_before: array<u32, RUNS>;

// The run that a vector belongs to: the last that begins there or before.
fn run_with(at: u32) -> u32 {
    var run = 0u;
    for (var half = RUNS / 2u; half > 0u; half /= 2u) {
        run = select(run, run + half, vectors_before[run + half] <= at);
    }
    return run;
}

@compute @workgroup_size(256)
fn greedy_hits(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    let row = number / SLICES;
    let slice = number % SLICES;
    if row >= params.query_rows {
        return;
    }
    let columns = columns_of(row / params.group % params.heads);
    let exponent = bitcast<i32>(found[row].z);
    var counts: array<u32, EACH>;
    var own = 0u;
    for (var i = 0u; i < EACH; i += 1u) {
        let at = EACH * index + i;
        if at < 2u * DIM {
            let run = runs[2u * DIM * row + at];
            let begin = columns.first + at / 2u * columns.stride + run.x;
            let end = begin + run.y;
            factors[at] = factor_of(row * DIM + at / 2u, exponent);
            begins[at] = begin;
            ends[at] = end;
            counts[i] = select(0u, (end + 7u) / 8u - begin / 8u, run.y > 0u);
            own += counts[i];
        }
    }
    let sums = scan(own, index);
    var before = sums.before;
    for (var i = 0u; i < EACH; i += 1u) {
        vectors_before[EACH * index + i] = before;
        before += counts[i];
    }
    workgroupBarrier();
    let share = sums.all / SLICES;
    let more = sums.all % SLICES;
    let from_vector = share * slice + min(slice, more);
    let to_vector = from_vector + share + u32(slice < more);
    for (var at = from_vector + index; at < to_vector; at += 256u) {
        let run = run_with(at);
        let begin = begins[run];
        let end = ends[run];
        let factor = factors[run];
        let vector = begin / 8u + at - vectors_before[run];
        let words = sorted[vector];
        let rows = rows_of(vector);
        for (var k = 0u; k < 8u; k += 1u) {
            let element = 8u * vector + k;
            if element >= begin && element < end {
                let pair = unpack2x16float(words[k / 2u]);
                let value = select(pair.x, pair.y, k % 2u == 1u);
                atomicAdd(&hits[row * params.stride + rows[k]], product(factor, value));
            }
        }
    }
}
