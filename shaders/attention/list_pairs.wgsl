// Kept pairs of a mask as lists of rows, with the rows that are always kept. A workgroup has a block of
// 2048 positions, a lane 8 of them.

struct Params {
    // Positions of the context, words of a row of the mask, blocks of a row.
    n: u32,
    words: u32,
    row_blocks: u32,
    // The first row of the mask, and heads.
    first_row: u32,
    heads: u32,
    // Rows before the context and after it, and rows of all lists.
    prefix: u32,
    appended: u32,
    rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rows][words].
@group(0) @binding(3) var<storage, read> mask: array<u32>;
// [rows][row_blocks]: kept pairs.
@group(0) @binding(4) var<storage, read> blocks: array<u32>;
// [heads + 1], where each head's list begins, and all lists.
@group(0) @binding(9) var<storage, read_write> first: array<u32>;
@group(0) @binding(10) var<storage, read_write> rows: array<u32>;

// Whatever mask and counts say, nothing is written beyond the lists.
fn put(at: u32, row: u32) {
    if at < params.rows {
        rows[at] = row;
    }
}

@compute @workgroup_size(256)
fn list_pairs(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let block = group.y * groups.x + group.x;
    if block >= params.heads * params.row_blocks {
        return;
    }
    let head = block / params.row_blocks;
    let within = block % params.row_blocks;
    let first_block = params.first_row * params.row_blocks;
    var others = 0u;
    for (var other = index; other < block; other += 256u) {
        others += blocks[first_block + other];
    }
    // Where the block's first kept row goes.
    let start = head * (params.prefix + params.appended) + params.prefix + scan(others, index).all;

    let word = 64u * within + index / 4u;
    var bits = 0u;
    if word < params.words {
        let all = mask[(params.first_row + head) * params.words + word];
        bits = (all >> (8u * (index % 4u))) & 0xffu;
    }
    let kept = scan(countOneBits(bits), index);
    var at = start + kept.before;
    let own = params.prefix + 2048u * within + 8u * index;
    for (var i = 0u; i < 8u; i += 1u) {
        if ((bits >> i) & 1u) == 1u {
            put(at, own + i);
            at += 1u;
        }
    }
    if within == 0u {
        for (var row = index; row < params.prefix; row += 256u) {
            put(start - params.prefix + row, row);
        }
        if index == 0u {
            first[head] = start - params.prefix;
        }
    }
    if within == params.row_blocks - 1u {
        let end = start + kept.all;
        for (var row = index; row < params.appended; row += 256u) {
            put(end + row, params.prefix + params.n + row);
        }
        if index == 0u && head == params.heads - 1u {
            first[params.heads] = end + params.appended;
        }
    }
}
