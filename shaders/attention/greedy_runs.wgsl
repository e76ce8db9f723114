// What a greedy search takes of each column: a workgroup has a query row.

struct Params {
    query_rows: u32,
    // KV heads, and query heads of each.
    heads: u32,
    group: u32,
    // Vectors of four hits from one query row to the next.
    stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(15) var<storage, read> flags: array<u32>;
// [query_rows][DIM][2]: where a run begins and its length, of the largest and of the smallest.
@group(0) @binding(16) var<storage, read_write> runs: array<vec2<u32>>;
@group(0) @binding(17) var<storage, read_write> found: array<vec4<u32>>;
@group(0) @binding(18) var<storage, read_write> hits: array<vec4<i32>>;

// Exponents of products are kept above 0.
const OFFSET: i32 = 256;

var<workgroup> largest: atomic<u32>;
var<workgroup> unbounded: atomic<u32>;

// The exponent of a product of two normal numbers, the second of which is f16.
fn exponent_of(a: u32, b: u32) -> i32 {
    let wide = (a & 0x7fffffu) | 0x800000u;
    let narrow = ((b >> 13u) & 0x3ffu) | 0x400u;
    // Without the last 12 bits.
    let mantissa = (wide >> 12u) * narrow + (((wide & 0xfffu) * narrow) >> 12u);
    let exponents = i32((a >> 23u) & 0xffu) + i32((b >> 23u) & 0xffu) - 254;
    return exponents + i32(mantissa >= 0x400000u);
}

@compute @workgroup_size(256)
fn greedy_runs(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.query_rows {
        return;
    }
    let head = row / params.group % params.heads;
    let columns = columns_of(head);
    if lane.index == 0u {
        atomicStore(&largest, 0u);
        atomicStore(&unbounded, 0u);
    }
    workgroupBarrier();
    for (var i = 0u; i < EACH; i += 1u) {
        let column = column_of(lane, i);
        walks[i] = Walk(0.0, 0u, 0u, 0u, 0u);
        if column < DIM && columns.rows > 0u {
            let first = columns.first + column * columns.stride;
            let ends = max(abs(number(first)), abs(number(first + columns.rows - 1u)));
            let bits = flushed(query_bits(row * DIM + column));
            if (bits & 0x7f800000u) == 0x7f800000u {
                atomicStore(&unbounded, 1u);
            } else if bits != 0u && ends > 0.0 {
                let exponent = exponent_of(bits, bitcast<u32>(ends));
                if exponent > 127 {
                    atomicStore(&unbounded, 1u);
                } else if exponent >= -126 {
                    atomicMax(&largest, u32(exponent + OFFSET));
                }
                // A column of zeros keeps the factor 0.
                walks[i].factor = 1.0;
            }
            walks[i].first = first;
            walks[i].rows = columns.rows;
        }
    }
    for (var quad = lane.index; 4u * quad < columns.rows; quad += 256u) {
        hits[row * params.stride + quad] = vec4<i32>(0);
    }
    workgroupBarrier();
    let top = atomicLoad(&largest);
    let few = top == 0u || columns.budget == 0u || columns.budget > MOST;
    let none = few || atomicLoad(&unbounded) == 1u || flags[head] != 0u;
    let exponent = select(min(i32(SPAN) - 1 - (i32(top) - OFFSET), 126), 0, none);
    let side = side_of(lane);
    for (var i = 0u; i < EACH; i += 1u) {
        // Without rows nothing is found and nothing taken.
        walks[i].rows = select(walks[i].rows, 0u, none || walks[i].factor == 0.0);
        if walks[i].factor != 0.0 && !none {
            let factor = factor_of(row * DIM + column_of(lane, i), exponent);
            walks[i].factor = select(factor, -factor, side == 1u);
        }
    }
    let steps = select(columns.budget, 0u, none);
    take_first(steps, lane);
    let most = select(min(columns.budget, columns.rows * DIM), 0u, none);
    let low_steps = take_low(most, row, steps, lane);
    add_up(vec3<u32>(sum_above(), 0u, 0u), lane);
    if lane.index == 0u {
        found[row] = vec4<u32>(u32(none), low_steps, bitcast<u32>(exponent), total(0u).x);
    }
    for (var i = 0u; i < EACH; i += 1u) {
        let column = column_of(lane, i);
        let walk = walks[i];
        if column < DIM {
            let begin = select(walk.rows - walk.above, 0u, walk.factor < 0.0 || walk.above == 0u);
            runs[2u * (row * DIM + column) + side] = vec2<u32>(begin, walk.above);
        }
    }
}
