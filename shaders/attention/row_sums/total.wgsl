// Adds the sums of blocks to those of the rows before; a lane has a quad.
// Expects: row_sums/params.wgsl, const HEAD_QUADS; sparse/index_map.wgsl.

// [H][3][HEAD_QUADS].
@group(0) @binding(14) var<storage, read_write> sums: array<vec4<f32>>;

const LANES: u32 = 64u;

fn run(group: u32, index: u32) {
    let quad = group * LANES + index;
    let each = 3u * HEAD_QUADS;
    let head = quad / each;
    if head >= params.heads {
        return;
    }
    var sum = vec4<f32>(0.0);
    for (var block = 0u; block < params.blocks; block += 1u) {
        sum += parts[(head * params.blocks + block) * each + quad % each];
    }
    // What is there of no rows means nothing.
    if columns_of(head).from_row > 0u {
        sum += sums[quad];
    }
    sums[quad] = sum;
}
