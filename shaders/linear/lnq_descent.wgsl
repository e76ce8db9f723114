// One cycle of coordinate descent over a panel of inputs, one lane a row of the layer.
//
// Inputs come in blocks of 32. For each block the lane first takes in what the panel's earlier
// blocks changed, then visits the inputs in order: the one visited gets the table entry nearest to
// what would be best with all others held, at a tie the one it has. Products stay as they were before
// the panel: what each input's value changed by is written, for later blocks and for what follows.
// Expects: const LEVELS, at most 16.

override WORKGROUP: u32 = 32u;

const BLOCK: u32 = 32u;
const BLOCK_QUADS: u32 = 8u;

struct Params {
    // Rows of the layer.
    rows: u32,
    // Quads of a row, and words of its labels.
    quads: u32,
    // The panel's first input.
    first: u32,
    // Inputs of the panel, a multiple of 32.
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [width, 4 * quads].
@group(0) @binding(1) var<storage, read> hessian: array<vec4<f32>>;
// [rows, 4 * quads]: quantized minus original weight.
@group(0) @binding(2) var<storage, read_write> off: array<f32>;
// [rows, 4 * quads].
@group(0) @binding(3) var<storage, read> pull: array<vec4<f32>>;
// [rows, quads]: four labels a word, the first one lowest.
@group(0) @binding(4) var<storage, read_write> labels: array<u32>;
// [rows, LEVELS].
@group(0) @binding(5) var<storage, read> tables: array<f32>;
// [rows, 4 * quads].
@group(0) @binding(6) var<storage, read> weights: array<f32>;
// [4 * quads]: 1 / H[i, i]; 0 for inputs to leave out.
@group(0) @binding(7) var<storage, read> inverse: array<f32>;

// [rows, width].
@group(0) @binding(11) var<storage, read_write> changes: array<vec4<f32>>;

// 32 x 32 numbers of H.
var<workgroup> tile: array<vec4<f32>, BLOCK * BLOCK_QUADS>;
// Of each lane's row the products of the block, and the changes once an input was visited; its
// table. In workgroup memory because they are indexed by variables.
var<workgroup> slots: array<f32, BLOCK * WORKGROUP>;
var<workgroup> entries: array<f32, LEVELS * WORKGROUP>;

// Stages H's rows of block `above` and columns of block `across`; of a block on the diagonal only
// what lies before it.
fn stage(lane: u32, above: u32, across: u32) {
    workgroupBarrier();
    for (var at = lane; at < BLOCK * BLOCK_QUADS; at += WORKGROUP) {
        let row = at / BLOCK_QUADS;
        let quad = at % BLOCK_QUADS;
        let start = (above * BLOCK + row) * params.quads + params.first / 4u;
        let found = hessian[start + across * BLOCK_QUADS + quad];
        let before = vec4<u32>(0u, 1u, 2u, 3u) + 4u * quad < vec4<u32>(row);
        tile[at] = select(vec4<f32>(), found, before | vec4<bool>(above != across));
    }
    workgroupBarrier();
}

fn slot(col: u32, lane: u32) -> u32 {
    return col * WORKGROUP + lane;
}

fn keep(quad: u32, lane: u32, sums: vec4<f32>) {
    slots[slot(4u * quad, lane)] = sums.x;
    slots[slot(4u * quad + 1u, lane)] = sums.y;
    slots[slot(4u * quad + 2u, lane)] = sums.z;
    slots[slot(4u * quad + 3u, lane)] = sums.w;
}

fn kept(quad: u32, lane: u32) -> vec4<f32> {
    return vec4<f32>(
        slots[slot(4u * quad, lane)],
        slots[slot(4u * quad + 1u, lane)],
        slots[slot(4u * quad + 2u, lane)],
        slots[slot(4u * quad + 3u, lane)],
    );
}

// The block's products with what its panel's earlier blocks changed, into the lane's slots.
fn take_in(lane: u32, inside: bool, block: u32, row_quads: u32, row_changes: u32) {
    let own = row_quads + block * BLOCK_QUADS;
    var a = pull[own];
    var b = pull[own + 1u];
    var c = pull[own + 2u];
    var d = pull[own + 3u];
    var e = pull[own + 4u];
    var f = pull[own + 5u];
    var g = pull[own + 6u];
    var h = pull[own + 7u];
    for (var earlier = 0u; earlier < block; earlier += 1u) {
        stage(lane, earlier, block);
        for (var quad = 0u; quad < BLOCK_QUADS; quad += 1u) {
            // Lanes past the last row must not read what that row's own lane writes.
            var changed = vec4<f32>();
            if inside {
                changed = changes[row_changes + earlier * BLOCK_QUADS + quad];
            }
            for (var within = 0u; within < 4u; within += 1u) {
                let change = vec4<f32>(changed[within]);
                let at = (4u * quad + within) * BLOCK_QUADS;
                a = fma(change, tile[at], a);
                b = fma(change, tile[at + 1u], b);
                c = fma(change, tile[at + 2u], c);
                d = fma(change, tile[at + 3u], d);
                e = fma(change, tile[at + 4u], e);
                f = fma(change, tile[at + 5u], f);
                g = fma(change, tile[at + 6u], g);
                h = fma(change, tile[at + 7u], h);
            }
        }
    }
    keep(0u, lane, a);
    keep(1u, lane, b);
    keep(2u, lane, c);
    keep(3u, lane, d);
    keep(4u, lane, e);
    keep(5u, lane, f);
    keep(6u, lane, g);
    keep(7u, lane, h);
}

@compute @workgroup_size(WORKGROUP)
fn lnq_descent(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first_row = (group.y * groups.x + group.x) * WORKGROUP;
    if first_row >= params.rows {
        return;
    }
    let inside = first_row + lane < params.rows;
    // Lanes past the last row go along with it and write nothing.
    let row = min(first_row + lane, params.rows - 1u);
    for (var q = 0u; q < LEVELS; q += 1u) {
        entries[slot(q, lane)] = tables[row * LEVELS + q];
    }
    let row_quads = row * params.quads + params.first / 4u;
    let row_changes = row * (params.width / 4u);
    for (var block = 0u; block < params.width / BLOCK; block += 1u) {
        take_in(lane, inside, block, row_quads, row_changes);
        stage(lane, block, block);
        let own = row_quads + block * BLOCK_QUADS;
        for (var quad = 0u; quad < BLOCK_QUADS; quad += 1u) {
            // Lanes past the last row must not read what that row's own lane writes.
            var before = 0u;
            if inside {
                before = labels[own + quad];
            }
            var word = before;
            for (var within = 0u; within < 4u; within += 1u) {
                let i = 4u * quad + within;
                let label = (before >> (8u * within)) & (LEVELS - 1u);
                let value = entries[slot(label, lane)];
                var sum = slots[slot(i, lane)];
                // Changes of the inputs before this one; H is 0 in the tile for the others.
                for (var done = 0u; done <= quad; done += 1u) {
                    sum = add_products(sum, kept(done, lane), tile[i * BLOCK_QUADS + done]);
                }
                let share = inverse[params.first + block * BLOCK + i];
                let aim = value - sum * share;
                var best = label;
                var distance = abs(value - aim);
                for (var q = 0u; q < LEVELS; q += 1u) {
                    let other = abs(entries[slot(q, lane)] - aim);
                    if other < distance {
                        best = q;
                        distance = other;
                    }
                }
                var change = 0.0;
                if share != 0.0 && best != label {
                    let entry = entries[slot(best, lane)];
                    change = entry - value;
                    word ^= (label ^ best) << (8u * within);
                    if inside {
                        let at = 4u * (own + quad) + within;
                        off[at] = entry - weights[at];
                    }
                }
                slots[slot(i, lane)] = change;
            }
            if inside {
                labels[own + quad] = word;
                changes[row_changes + block * BLOCK_QUADS + quad] = kept(quad, lane);
            }
        }
    }
}
