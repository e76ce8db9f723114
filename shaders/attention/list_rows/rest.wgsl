// A workgroup estimates the weight of the rows that a query row's list does not have: their number times
// the mean of the powers of normal logits. A lane has a quad of the query.
// Expects: list_rows/params.wgsl, tiles/segment.wgsl, sparse/index_map.wgsl, a q_*.wgsl, a logit*.wgsl,
// const HEAD_QUADS; alias Logits = f32.

// [H][3][HEAD_QUADS]: sums of keys, of their squares, of values.
@group(0) @binding(14) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(15) var<storage, read> flags: array<u32>;
// [lists].
@group(0) @binding(20) var<storage, read> counts: array<vec4<u32>>;
// [T H G].
@group(0) @binding(25) var<storage, read_write> rest: array<f32>;

const LANES: u32 = 64u;
// What stands for no row: no infinity, which compilers may assume not to be.
const NO_ROW: f32 = -1e30;

var<workgroup> partial: array<f32, LANES>;

fn run(row: u32, index: u32) {
    if row >= params.tokens * params.heads * params.group {
        return;
    }
    let head = head_of(row);
    let rows = columns_of(head).rows;
    var sum = 0.0;
    if index < HEAD_QUADS && rows > 0u {
        let of_head = 3u * head * HEAD_QUADS + index;
        let query = q_quad(row * HEAD_QUADS + index);
        let mean = sums[of_head] / f32(rows);
        let square = sums[of_head + HEAD_QUADS] / f32(rows);
        let variance = max(square - mean * mean, vec4<f32>(0.0));
        sum = dot(query, mean) + params.half_scale * dot(query * query, variance);
    }
    partial[index] = sum;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if index < width {
            partial[index] += partial[index + width];
        }
        workgroupBarrier();
    }
    if index == 0u {
        let seen = seen_by(row, segment_of(head).len);
        let left = seen - counts[row / params.queries].x;
        // Of a head whose keys are not all finite, or of whose keys none are known, nothing can be told.
        let known = left > 0u && rows > 0u && flags[head] == 0u;
        rest[row] = NO_ROW;
        if known {
            rest[row] = log2(f32(left)) + logit(partial[0]);
        }
    }
}
