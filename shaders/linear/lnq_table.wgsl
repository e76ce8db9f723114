// The best table for the labels at hand, one workgroup a row of the layer.
//
// Solves (G + lambda I) change = residual by Cholesky for the entries that are in use. A tenth of a
// millionth of G's mean diagonal is added, ten times as much each time that G is not positive
// definite, up to all of it; a row for which even that is too little keeps its table. Then entries
// are sorted, labels go along, and offsets are made anew.
// Expects: const LEVELS, at most 16.

override WORKGROUP: u32 = 64u;

// Least pivot relative to the diagonal: below it lies the rounding of f32 sums, of either sign.
const PIVOT: f32 = 2e-6;
const LEAST_DAMPING: f32 = 1e-7;
const DAMPINGS: u32 = 8u;
const MASK: u32 = LEVELS - 1u;

struct Params {
    // Rows of the layer.
    rows: u32,
    // Quads of a row, and words of its labels.
    quads: u32,
    // Inputs without padding.
    cols: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows, 4 * quads]: quantized minus original weight, 0 in the padding.
@group(0) @binding(2) var<storage, read_write> off: array<vec4<f32>>;
// [rows, 4 * quads]: off H.
@group(0) @binding(3) var<storage, read> pull: array<vec4<f32>>;
// [rows, quads]: four labels a word, the first one lowest.
@group(0) @binding(4) var<storage, read_write> labels: array<u32>;
// [rows, LEVELS].
@group(0) @binding(5) var<storage, read_write> tables: array<f32>;
// [rows, 4 * quads].
@group(0) @binding(6) var<storage, read> weights: array<vec4<f32>>;
// [rows, LEVELS, LEVELS]: only the sum with its transpose counts.
@group(0) @binding(8) var<storage, read> gram: array<f32>;
// [rows]: 1 where no table was found.
@group(0) @binding(9) var<storage, read_write> unsolved: array<u32>;

var<workgroup> sums: array<f32, LEVELS * WORKGROUP>;
var<workgroup> system: array<f32, LEVELS * LEVELS>;
var<workgroup> factors: array<f32, LEVELS * LEVELS>;
var<workgroup> residual: array<f32, LEVELS>;
// Of the system without idle entries: which entry each unknown is, and the solution.
var<workgroup> entry_of: array<u32, LEVELS>;
var<workgroup> solution: array<f32, LEVELS>;
var<workgroup> rest: array<f32, LEVELS>;
// New entries before and after sorting, and where each one went.
var<workgroup> found: array<f32, LEVELS>;
var<workgroup> sorted: array<f32, LEVELS>;
var<workgroup> place_of: array<u32, LEVELS>;

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

fn coefficient(row: u32, col: u32) -> f32 {
    return system[entry_of[row] * LEVELS + entry_of[col]];
}

// Lower triangular factors of G + lambda I; false where that is not positive definite.
fn factor(count: u32, lambda: f32) -> bool {
    for (var i = 0u; i < count; i += 1u) {
        for (var j = 0u; j <= i; j += 1u) {
            var left = coefficient(i, j);
            for (var k = 0u; k < j; k += 1u) {
                left -= factors[i * LEVELS + k] * factors[j * LEVELS + k];
            }
            if i == j {
                left += lambda;
                let enough = left > PIVOT * coefficient(i, i) && left > 0.0 && is_finite(left);
                if !enough {
                    return false;
                }
                factors[i * LEVELS + i] = sqrt(left);
            } else {
                factors[i * LEVELS + j] = left / factors[j * LEVELS + j];
            }
        }
    }
    return true;
}

// Adds to the solution what the factors make of the rest.
fn solve(count: u32) {
    for (var i = 0u; i < count; i += 1u) {
        var left = rest[i];
        for (var k = 0u; k < i; k += 1u) {
            left -= factors[i * LEVELS + k] * rest[k];
        }
        rest[i] = left / factors[i * LEVELS + i];
    }
    for (var up = 0u; up < count; up += 1u) {
        let i = count - 1u - up;
        var left = rest[i];
        for (var k = i + 1u; k < count; k += 1u) {
            left -= factors[k * LEVELS + i] * rest[k];
        }
        rest[i] = left / factors[i * LEVELS + i];
        solution[i] += rest[i];
    }
}

// What the undamped system leaves over.
fn refresh_rest(count: u32) {
    for (var i = 0u; i < count; i += 1u) {
        var left = residual[entry_of[i]];
        for (var k = 0u; k < count; k += 1u) {
            left -= coefficient(i, k) * solution[k];
        }
        rest[i] = left;
    }
}

// Fills the solution; false where all damping is too little.
fn solve_damped(count: u32) -> bool {
    var trace = 0.0;
    for (var i = 0u; i < count; i += 1u) {
        trace += coefficient(i, i);
    }
    var damping = LEAST_DAMPING * trace / f32(count);
    for (var attempt = 0u; attempt < DAMPINGS; attempt += 1u) {
        if factor(count, damping) {
            for (var i = 0u; i < count; i += 1u) {
                solution[i] = 0.0;
            }
            // Two rounds of refinement take out what light damping adds.
            for (var turn = 0u; turn < 3u; turn += 1u) {
                refresh_rest(count);
                solve(count);
            }
            var finite = true;
            for (var i = 0u; i < count; i += 1u) {
                finite = finite && is_finite(solution[i]);
            }
            return finite;
        }
        damping *= 10.0;
    }
    return false;
}

// New entries, unsorted; gives whether no table was found. For one lane.
fn improve() -> bool {
    var count = 0u;
    for (var q = 0u; q < LEVELS; q += 1u) {
        // Entries without weights, or only with inactive ones, have nothing to gain.
        if system[q * LEVELS + q] > 0.0 {
            entry_of[count] = q;
            count += 1u;
        }
    }
    if count == 0u {
        return false;
    }
    if !solve_damped(count) {
        return true;
    }
    for (var i = 0u; i < count; i += 1u) {
        let entry = found[entry_of[i]] + solution[i];
        if is_finite(entry) {
            found[entry_of[i]] = entry;
        }
    }
    return false;
}

@compute @workgroup_size(WORKGROUP)
fn lnq_table(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.rows {
        return;
    }
    for (var q = 0u; q < LEVELS; q += 1u) {
        sums[q * WORKGROUP + lane] = 0.0;
    }
    for (var quad = lane; quad < params.quads; quad += WORKGROUP) {
        let word = labels[row * params.quads + quad];
        // The padding's products are 0.
        let products = pull[row * params.quads + quad];
        sums[(word & MASK) * WORKGROUP + lane] -= products.x;
        sums[((word >> 8u) & MASK) * WORKGROUP + lane] -= products.y;
        sums[((word >> 16u) & MASK) * WORKGROUP + lane] -= products.z;
        sums[((word >> 24u) & MASK) * WORKGROUP + lane] -= products.w;
    }
    for (var at = lane; at < LEVELS * LEVELS; at += WORKGROUP) {
        let mirrored = at % LEVELS * LEVELS + at / LEVELS;
        let start = row * LEVELS * LEVELS;
        system[at] = 0.5 * (gram[start + at] + gram[start + mirrored]);
    }
    if lane < LEVELS {
        found[lane] = tables[row * LEVELS + lane];
    }
    workgroupBarrier();
    if lane < LEVELS {
        var sum = 0.0;
        for (var step = 0u; step < WORKGROUP; step += 1u) {
            // Each lane begins at another bank.
            sum += sums[lane * WORKGROUP + (step + lane) % WORKGROUP];
        }
        residual[lane] = sum;
    }
    workgroupBarrier();
    if lane == 0u {
        unsolved[row] = u32(improve());
    }
    workgroupBarrier();
    if lane < LEVELS {
        let own = found[lane];
        var place = 0u;
        for (var q = 0u; q < LEVELS; q += 1u) {
            place += u32(found[q] < own || (found[q] == own && q < lane));
        }
        place_of[lane] = place;
        sorted[place] = own;
        tables[row * LEVELS + place] = own;
    }
    workgroupBarrier();
    for (var quad = lane; quad < params.quads; quad += WORKGROUP) {
        let at = row * params.quads + quad;
        let word = labels[at];
        let own = vec4<u32>(
            place_of[word & MASK],
            place_of[(word >> 8u) & MASK],
            place_of[(word >> 16u) & MASK],
            place_of[(word >> 24u) & MASK],
        );
        let values = vec4<f32>(sorted[own.x], sorted[own.y], sorted[own.z], sorted[own.w]);
        let inside = vec4<u32>(0u, 1u, 2u, 3u) + 4u * quad < vec4<u32>(params.cols);
        let kept = select(vec4<u32>(), own, inside);
        labels[at] = kept.x | (kept.y << 8u) | (kept.z << 16u) | (kept.w << 24u);
        off[at] = select(vec4<f32>(), values - weights[at], inside);
    }
}
