// Keys turned into columns of f16. A workgroup has 64 rows and 64 columns at a time: rows come in pieces of
// 16 bytes, neighbouring lanes neighbouring pieces, and leave in words of two, neighbouring lanes
// neighbouring words of a column.
// Expects: const HEAD_QUADS, ROW_PIECES; an element_*.wgsl, tiles/segment.wgsl, a part with tensor_row,
// sparse/index_map.wgsl, lib/half.wgsl.

struct Params {
    heads: u32,
    // Tiles of a head that there are workgroups for: each goes on to the next as many further.
    tiles: u32,
    page_rows: u32,
    pages: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Pairs of neighbouring rows.
@group(0) @binding(11) var<storage, read_write> columns: array<u32>;
// [H].
@group(0) @binding(15) var<storage, read_write> flags: array<atomic<u32>>;

const LANES: u32 = 256u;
// Pairs of rows, and columns, of a tile.
const PAIRS: u32 = 32u;
const WIDTH: u32 = 64u;
// Pieces of a row of a tile.
const PIECES: u32 = WIDTH / 4u / QUADS;
const CHUNKS: u32 = (4u * HEAD_QUADS + WIDTH - 1u) / WIDTH;
// From column to column: one more, so that lanes that have one row of several columns meet no bank twice.
const STRIDE: u32 = PAIRS + 1u;

var<workgroup> tile: array<u32, WIDTH * STRIDE>;

// Finite, and 0 below the smallest normal number; any NaN is one.
fn index_number(x: f32) -> u32 {
    let half = float_to_half(x);
    let magnitude = half & 0x7fffu;
    return select(select(half, 0u, magnitude < 0x400u), 0x7e00u, magnitude > 0x7c00u);
}

// Two rows of a quad, and whether a number is not finite.
fn put_quad(column: u32, pair: u32, low: vec4<f32>, high: vec4<f32>) -> bool {
    var wrong = false;
    for (var i = 0u; i < 4u; i += 1u) {
        let a = index_number(low[i]);
        let b = index_number(high[i]);
        wrong = wrong || (a & 0x7c00u) == 0x7c00u || (b & 0x7c00u) == 0x7c00u;
        tile[(column + i) * STRIDE + pair] = a | (b << 16u);
    }
    return wrong;
}

@compute @workgroup_size(LANES)
fn key_columns(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    if number >= params.heads * params.tiles * CHUNKS {
        return;
    }
    let head = number / (params.tiles * CHUNKS);
    let own = number / CHUNKS % params.tiles;
    let first_column = number % CHUNKS * WIDTH;
    let segment = segment_of(head);
    let place = columns_of(head);
    // A word is written whole: what is before the first new row is made again.
    let begin = place.from_row & 0xfffffffeu;
    var wrong = false;
    for (var first = begin + 2u * PAIRS * own; first < place.rows; first += 2u * PAIRS * params.tiles) {
        for (var unit = index; unit < PAIRS * PIECES; unit += LANES) {
            let piece = first_column / 4u / QUADS + unit % PIECES;
            let row = first + 2u * (unit / PIECES);
            if piece < ROW_PIECES && row < place.rows {
                let low_row = tensor_row(segment, row);
                let low = keys[low_row * ROW_PIECES + piece];
                let low_codec = key_codec(low_row);
                // Past the last row there are zeros.
                let both = row + 1u < place.rows;
                var high_row = low_row;
                if both {
                    high_row = tensor_row(segment, row + 1u);
                }
                let high = keys[high_row * ROW_PIECES + piece];
                let high_codec = key_codec(high_row);
                for (var i = 0u; i < QUADS; i += 1u) {
                    // A row may end with padding.
                    if piece * QUADS + i < HEAD_QUADS {
                        let other = decode(high, i, high_codec);
                        let column = 4u * (unit % PIECES * QUADS + i);
                        let quad = select(vec4<f32>(0.0), other, both);
                        let put = put_quad(column, unit / PIECES, decode(low, i, low_codec), quad);
                        wrong = wrong || put;
                    }
                }
            }
        }
        workgroupBarrier();
        for (var unit = index; unit < PAIRS * WIDTH; unit += LANES) {
            let column = first_column + unit / PAIRS;
            let row = first + 2u * (unit % PAIRS);
            if column < 4u * HEAD_QUADS && row < place.rows {
                let at = place.first + column * place.stride + row;
                columns[at / 2u] = tile[unit / PAIRS * STRIDE + unit % PAIRS];
            }
        }
        // Before the next tile's numbers.
        workgroupBarrier();
    }
    if wrong {
        atomicStore(&flags[head], 1u);
    }
}
