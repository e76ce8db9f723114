// Attention to a segment through workgroup memory; needs no feature. Of a tile of LANES keys a lane
// makes the logits of one key, then 8 lanes together the weights of a query row, then a lane adds up a
// quad of values for some rows. Sibling: attend_subgroup.wgsl.
// Expects: const LANES = 128, LANE_ROWS, the rows that a lane adds values up for.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

// Lanes that make the weights of a row; there are up to 16 rows.
const ROW_LANES: u32 = LANES / 16u;
// A lane adds up rows this far apart.
const ROW_STEP: u32 = LANES / HEAD_QUADS;

// Logits, then weights: [ROWS, LANES].
var<workgroup> weights: array<f32, ROWS * LANES>;
var<workgroup> row_parts: array<f32, LANES>;
var<workgroup> row_values: array<f32, 16>;

fn make_logits(segment: Segment, key: u32, index: u32) {
    let row = tensor_row(segment, key);
    let codec = key_codec(row);
    var dots: array<f32, ROWS>;
    for (var piece = 0u; piece < ROW_PIECES; piece += 1u) {
        let words = keys[row * ROW_PIECES + piece];
        for (var at = 0u; at < QUADS; at += 1u) {
            let quad = piece * QUADS + at;
            // A row may end with padding.
            if quad < HEAD_QUADS {
                let k = decode(words, at, codec);
                for (var r = 0u; r < ROWS; r += 1u) {
                    let q = q_quad(query_row(segment.head, r) * HEAD_QUADS + quad);
                    dots[r] = add_products(dots[r], q, k);
                }
            }
        }
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        weights[r * LANES + index] = logit(dots[r]);
    }
}

fn attend(segment: Segment, lane: Lane) {
    let index = lane.index;
    // The row that this lane helps to make weights of.
    let row = index / ROW_LANES;
    let span = seen(segment, row);
    var top = NO_KEY;
    var sum = 0.0;
    // The quad and rows that it adds up.
    let quad = index % HEAD_QUADS;
    let first_row = index / HEAD_QUADS;
    var total: array<vec4<f32>, LANE_ROWS>;
    for (var tile = segment.start; tile < segment.end; tile += LANES) {
        let count = min(LANES, segment.end - tile);
        if index < count {
            make_logits(segment, tile + index, index);
        }
        workgroupBarrier();
        let end = select(0u, count, row < ROWS);
        var highest = top;
        for (var i = index % ROW_LANES; i < end; i += ROW_LANES) {
            if inside(span, tile + i) && stays(segment.head, tile + i) {
                highest = max(highest, weights[row * LANES + i]);
            }
        }
        row_parts[index] = highest;
        workgroupBarrier();
        let before = top;
        for (var i = 0u; i < ROW_LANES; i += 1u) {
            top = max(top, row_parts[row * ROW_LANES + i]);
        }
        let shrink = exp2(before - top);
        sum *= shrink;
        for (var i = index % ROW_LANES; i < end; i += ROW_LANES) {
            let at = row * LANES + i;
            let seen = inside(span, tile + i) && stays(segment.head, tile + i);
            let weight = select(0.0, exp2(weights[at] - top), seen);
            weights[at] = weight;
            sum += weight;
        }
        if index % ROW_LANES == 0u {
            row_values[row] = shrink;
        }
        workgroupBarrier();
        if first_row < ROW_STEP {
            for (var i = 0u; i < LANE_ROWS; i += 1u) {
                total[i] *= row_values[min(first_row + i * ROW_STEP, ROWS - 1u)];
            }
            for (var k = 0u; k < count; k += 1u) {
                let at = tensor_row(segment, tile + k);
                let words = values[at * ROW_PIECES + quad / QUADS];
                let v = decode(words, quad % QUADS, value_codec(at));
                for (var i = 0u; i < LANE_ROWS; i += 1u) {
                    let r = min(first_row + i * ROW_STEP, ROWS - 1u);
                    total[i] = fma(vec4<f32>(weights[r * LANES + k]), v, total[i]);
                }
            }
        }
        workgroupBarrier();
    }
    row_parts[index] = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < ROW_LANES; i += 1u) {
        sum += row_parts[row * ROW_LANES + i];
    }
    if row < ROWS && index % ROW_LANES == 0u {
        row_values[row] = sum;
        store_sum(segment, row, top, sum);
    }
    workgroupBarrier();
    if first_row < ROW_STEP {
        for (var i = 0u; i < LANE_ROWS; i += 1u) {
            let r = first_row + i * ROW_STEP;
            if r < ROWS {
                store_quad(segment, r, quad, total[i], row_values[r]);
            }
        }
    }
    // The next segment writes the same memory.
    workgroupBarrier();
}
