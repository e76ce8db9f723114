// The state of attention to a part of a list of rows whose logits are known, and the largest of each query
// row with them: values are read of the rows that some query row keeps.
//
// Of a tile of LANES rows a lane makes the weights of one; those that are kept move together, and then a
// lane adds up a quad of the values of every STRIPES-th of them, for all query rows.
// Expects: const LANES = 128, ROWS, query rows of a list, TAIL.

const STRIPES: u32 = LANES / HEAD_QUADS;

// [lists][ROWS][capacity]: logits in base 2.
@group(0) @binding(27) var<storage, read> picked: array<f32>;
// [lists][ROWS]: the largest of them, as an integer of the same order; 0 where there is none.
@group(0) @binding(22) var<storage, read> tops: array<u32>;

var<workgroup> kept_rows: array<u32, LANES>;
// [ROWS, LANES].
var<workgroup> weights: array<f32, ROWS * LANES>;
// Whether lanes keep their row, and how many of each 16 lanes do.
var<workgroup> flags: array<u32, LANES>;
var<workgroup> flag_sums: array<u32, LANES / 16u>;
var<workgroup> lane_sums: array<vec4<f32>, LANES>;

fn top_of(image: u32) -> f32 {
    if image == 0u {
        return NO_KEY;
    }
    return bitcast<f32>(select(~image, image & 0x7fffffffu, (image >> 31u) == 1u));
}

fn values_of(row: u32, quad: u32) -> vec4<f32> {
    let words = values[row * ROW_PIECES + quad / QUADS];
    return decode(words, quad % QUADS, value_codec(row));
}

@compute @workgroup_size(LANES)
fn attend_scored(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    if number >= params.lists * params.splits {
        return;
    }
    let segment = segment_of(number);
    let list = segment.head;
    // A list of all rows, for want of a search, is attended to whole.
    let keep = select(params.keep, 3.0e38, counts[list].z == 1u);
    let quad = index % HEAD_QUADS;
    let stripe = index / HEAD_QUADS;
    var sums: array<f32, ROWS>;
    var left: array<f32, ROWS>;
    var kept: array<f32, ROWS>;
    var total: array<vec4<f32>, ROWS>;
    for (var tile = segment.start; tile < segment.end; tile += LANES) {
        let at = tile + index;
        let there = at < segment.end;
        var some = false;
        var own: array<f32, ROWS>;
        for (var r = 0u; r < ROWS; r += 1u) {
            var weight = 0.0;
            if there {
                let top = top_of(tops[list * ROWS + r]);
                let logit = picked[(list * ROWS + r) * params.capacity + at];
                let left_out = logit < top - keep;
                weight = exp2(logit - top);
                if left_out {
                    left[r] += weight;
                    weight = 0.0;
                } else {
                    kept[r] += 1.0;
                    some = true;
                }
            }
            own[r] = weight;
            sums[r] += weight;
        }
        flags[index] = select(0u, 1u, some);
        workgroupBarrier();
        var place = 0u;
        var sixteen = 0u;
        for (var i = 0u; i < 16u; i += 1u) {
            let flag = flags[index / 16u * 16u + i];
            place += select(0u, flag, i < index % 16u);
            sixteen += flag;
        }
        if index % 16u == 0u {
            flag_sums[index / 16u] = sixteen;
        }
        workgroupBarrier();
        var count = 0u;
        for (var i = 0u; i < LANES / 16u; i += 1u) {
            let sum = flag_sums[i];
            place += select(0u, sum, i < index / 16u);
            count += sum;
        }
        if some {
            kept_rows[place] = lists[list * params.capacity + at];
            for (var r = 0u; r < ROWS; r += 1u) {
                weights[r * LANES + place] = own[r];
            }
        }
        workgroupBarrier();
        if stripe < STRIPES {
            for (var k = stripe; k < count; k += 4u * STRIPES) {
                // Rows beyond the last count nothing: any will do.
                let last = count - 1u;
                let k_1 = min(k + STRIPES, last);
                let k_2 = min(k + 2u * STRIPES, last);
                let k_3 = min(k + 3u * STRIPES, last);
                let v_0 = values_of(kept_rows[k], quad);
                let v_1 = values_of(kept_rows[k_1], quad);
                let v_2 = values_of(kept_rows[k_2], quad);
                let v_3 = values_of(kept_rows[k_3], quad);
                for (var r = 0u; r < ROWS; r += 1u) {
                    let base = r * LANES;
                    var sum = fma(vec4<f32>(weights[base + k]), v_0, total[r]);
                    if k + STRIPES < count {
                        sum = fma(vec4<f32>(weights[base + k_1]), v_1, sum);
                    }
                    if k + 2u * STRIPES < count {
                        sum = fma(vec4<f32>(weights[base + k_2]), v_2, sum);
                    }
                    if k + 3u * STRIPES < count {
                        sum = fma(vec4<f32>(weights[base + k_3]), v_3, sum);
                    }
                    total[r] = sum;
                }
            }
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        lane_sums[index] = total[r];
        workgroupBarrier();
        if index < HEAD_QUADS {
            var sum = lane_sums[index];
            for (var other = 1u; other < STRIPES; other += 1u) {
                sum += lane_sums[other * HEAD_QUADS + index];
            }
            store_quad(segment, r, index, sum, 0.0);
        }
        workgroupBarrier();
        lane_sums[index] = vec4<f32>(0.0, sums[r], left[r], kept[r]);
        workgroupBarrier();
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            if index < half {
                lane_sums[index] += lane_sums[index + half];
            }
            workgroupBarrier();
        }
        if index == 0u {
            var sum = lane_sums[0];
            sum.x = select(NO_KEY, top_of(tops[list * ROWS + r]), segment.start < segment.end);
            states[state_at(segment.slot, r) + HEAD_QUADS] = sum;
        }
        workgroupBarrier();
    }
}
