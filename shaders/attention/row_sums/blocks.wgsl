// A workgroup has neighbouring new rows of a head. A lane has a quad of columns of every row number
// `ROW_LANES` further: it adds up 32 of them, then what these come to, so that little is lost of many.
// Expects: row_sums/params.wgsl, const HEAD_QUADS, ROW_PIECES; an element_*.wgsl, tiles/segment.wgsl, a part
// with tensor_row, sparse/index_map.wgsl.

const LANES: u32 = 256u;
const ROW_LANES: u32 = LANES / HEAD_QUADS;
// Rows that are added up before they are added to the others.
const RUN: u32 = 32u;

var<workgroup> partial: array<vec4<f32>, LANES>;

// Adds up what lanes have of a quad, in order. To be called by all lanes.
fn put(sum: vec4<f32>, at: u32, index: u32) {
    partial[index] = sum;
    workgroupBarrier();
    if index < HEAD_QUADS {
        var total = sum;
        for (var i = 1u; i < ROW_LANES; i += 1u) {
            total += partial[i * HEAD_QUADS + index];
        }
        parts[at + index] = total;
    }
    workgroupBarrier();
}

fn run(block: u32, index: u32) {
    if block >= params.heads * params.blocks {
        return;
    }
    let segment = segment_of(block / params.blocks);
    let place = columns_of(segment.head);
    let each = (place.rows - place.from_row + params.blocks - 1u) / params.blocks;
    let begin = place.from_row + block % params.blocks * each;
    let end = min(begin + each, place.rows);
    let quad = index % HEAD_QUADS;
    var keys_sum = vec4<f32>(0.0);
    var squares_sum = vec4<f32>(0.0);
    var values_sum = vec4<f32>(0.0);
    // The last lanes have none where quads do not divide them.
    var first = begin + index / HEAD_QUADS;
    if index >= ROW_LANES * HEAD_QUADS {
        first = end;
    }
    while first < end {
        var of_keys = vec4<f32>(0.0);
        var of_squares = vec4<f32>(0.0);
        var of_values = vec4<f32>(0.0);
        for (var i = 0u; i < RUN; i += 1u) {
            if first < end {
                let row = tensor_row(segment, first);
                let at = row * ROW_PIECES + quad / QUADS;
                let key = decode(keys[at], quad % QUADS, key_codec(row));
                of_keys += key;
                of_squares += key * key;
                of_values += decode(values[at], quad % QUADS, value_codec(row));
            }
            first += ROW_LANES;
        }
        keys_sum += of_keys;
        squares_sum += of_squares;
        values_sum += of_values;
    }
    let at = 3u * block * HEAD_QUADS;
    put(keys_sum, at, index);
    put(squares_sum, at + HEAD_QUADS, index);
    put(values_sum, at + 2u * HEAD_QUADS, index);
}
