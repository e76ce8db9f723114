// Logits of the rows of an index from the components that are largest in the queries: a workgroup finds
// them for its token and KV head, then goes through pieces of eight rows, a lane one at a time.
// Expects: const GROUP, DIM (a multiple of 4), COMPONENTS (at most DIM), LANES, RANKED, whether query rows
// share a list; parts with q_quad, and with MEAN and store_part; sparse/index_map.wgsl.

struct Params {
    // Tokens times KV heads, and KV heads.
    places: u32,
    heads: u32,
    // Numbers of a row of scores, and workgroups of a place.
    most: u32,
    parts: u32,
    // Where ranks begin among the scores, in quads.
    ranks: u32,
    // A logit in base 2 is so many times the dot product.
    factor: f32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Elements in eights.
@group(0) @binding(11) var<storage, read> columns: array<vec4<u32>>;
// Of keys and of their squares, [H][3][DIM].
@group(0) @binding(14) var<storage, read> sums: array<f32>;
// [T H G][most], then ranks [T H][most].
@group(0) @binding(21) var<storage, read_write> scores: array<vec4<f32>>;

// What stands for no row: no infinity, which compilers may assume not to be.
const NO_KEY: f32 = -1e30;
const HALF_LN_2: f32 = 0.34657359027997264;
const DIM_QUADS: u32 = DIM / 4u;
// Query rows in fours.
const QUADS: u32 = (GROUP + 3u) / 4u;
// Columns that are under way at a time.
const AHEAD: u32 = 8u;

// Sums of magnitudes, as bits: of numbers that are not negative their order is that of the numbers, and NaN
// is above all.
var<workgroup> magnitudes: array<vec4<u32>, DIM_QUADS>;
var<workgroup> chosen: array<u32, COMPONENTS>;
// What a component is multiplied by, [COMPONENTS][GROUP].
var<workgroup> weights: array<f32, COMPONENTS * GROUP>;
// Of four query rows.
var<workgroup> lane_tops: array<vec4<f32>, LANES>;
var<workgroup> lane_sums: array<vec4<f32>, LANES>;

// What a normal distribution as wide as column `j` makes of `x` times its numbers: the logarithm of the mean
// power, in base 2.
fn expected(columns: Columns, head: u32, j: u32, x: f32) -> f32 {
    let count = f32(max(columns.rows, 1u));
    let mean = sums[3u * head * DIM + j] / count;
    let variance = max(sums[(3u * head + 1u) * DIM + j] / count - mean * mean, 0.0);
    return fma(HALF_LN_2 * x * x, variance, x * mean);
}

// Adds up what lanes have in both arrays, into their first elements.
fn add_lanes(index: u32) {
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if index < width {
            lane_tops[index] += lane_tops[index + width];
            lane_sums[index] += lane_sums[index + width];
        }
    }
    workgroupBarrier();
}

// The same of sums of powers over the tops they are relative to.
fn merge_lanes(index: u32) {
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if index < width {
            let own = lane_tops[index];
            let other = lane_tops[index + width];
            let top = max(own, other);
            lane_tops[index] = top;
            lane_sums[index] = fma(
                lane_sums[index],
                exp2(own - top),
                lane_sums[index + width] * exp2(other - top),
            );
        }
    }
    workgroupBarrier();
}

// How many components are before `j`: larger ones, and of equal ones the lower.
fn rank_of(j: u32) -> u32 {
    let own = vec4<u32>(magnitudes[j / 4u][j % 4u]);
    var rank = vec4<u32>(0u);
    for (var quad = 0u; quad < DIM_QUADS; quad += 1u) {
        let others = magnitudes[quad];
        let lower = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(j);
        rank += select(vec4<u32>(0u), vec4<u32>(1u), (others > own) | ((others == own) & lower));
    }
    return rank.x + rank.y + rank.z + rank.w;
}

// Finds the components, and where they are asked for, sums: for each four query rows what those that are read
// and those that are not are expected to come to. To be called by all lanes.
fn choose(columns: Columns, place: u32, asked: bool, index: u32) -> array<vec4<f32>, 2u * QUADS> {
    if index < DIM_QUADS {
        var sum = vec4<f32>(0.0);
        for (var g = 0u; g < GROUP; g += 1u) {
            sum += abs(q_quad((place * GROUP + g) * DIM_QUADS + index));
        }
        magnitudes[index] = bitcast<vec4<u32>>(sum) & vec4<u32>(0x7fffffffu);
    }
    workgroupBarrier();
    // 256 components at most, of 128 lanes.
    var ranks: array<u32, 2>;
    for (var i = 0u; i < 2u; i += 1u) {
        let j = index + i * LANES;
        ranks[i] = COMPONENTS;
        if j < DIM {
            ranks[i] = rank_of(j);
            if ranks[i] < COMPONENTS {
                chosen[ranks[i]] = j;
                for (var g = 0u; g < GROUP; g += 1u) {
                    let x = q_quad((place * GROUP + g) * DIM_QUADS + j / 4u)[j % 4u];
                    weights[ranks[i] * GROUP + g] = params.factor * x;
                }
            }
        }
    }
    var all: array<vec4<f32>, 2u * QUADS>;
    if asked {
        for (var quad = 0u; quad < QUADS; quad += 1u) {
            var read = vec4<f32>(0.0);
            var unread = vec4<f32>(0.0);
            for (var i = 0u; i < 2u; i += 1u) {
                let j = index + i * LANES;
                if j < DIM {
                    var terms = vec4<f32>(0.0);
                    for (var g = 0u; g < 4u; g += 1u) {
                        let row = place * GROUP + min(4u * quad + g, GROUP - 1u);
                        let x = params.factor * q_quad(row * DIM_QUADS + j / 4u)[j % 4u];
                        terms[g] = expected(columns, place % params.heads, j, x);
                    }
                    if ranks[i] < COMPONENTS {
                        read += terms;
                    } else {
                        unread += terms;
                    }
                }
            }
            lane_tops[index] = read;
            lane_sums[index] = unread;
            add_lanes(index);
            all[quad] = lane_tops[0];
            all[QUADS + quad] = lane_sums[0];
            workgroupBarrier();
        }
    }
    workgroupBarrier();
    return all;
}

fn first_four(piece: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(piece.x), unpack2x16float(piece.y));
}

fn last_four(piece: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(piece.z), unpack2x16float(piece.w));
}

// Eight rows of each query row.
alias Dots = array<vec4<f32>, 2u * GROUP>;

// The logarithm of the sum of powers of four rows' logits, each less what its query row's is expected to be:
// so that query rows of any sharpness count alike. NaN where one is.
fn rank(dots: Dots, half: u32, centres: array<vec4<f32>, 2u * QUADS>) -> vec4<f32> {
    var all = dots;
    var less = centres;
    var top = vec4<f32>(NO_KEY);
    var total = vec4<f32>(0.0);
    for (var g = 0u; g < GROUP; g += 1u) {
        total += all[2u * g + half];
        top = max(top, all[2u * g + half] - vec4<f32>(less[g / 4u][g % 4u]));
    }
    var sum = vec4<f32>(0.0);
    for (var g = 0u; g < GROUP; g += 1u) {
        sum += exp2(all[2u * g + half] - vec4<f32>(less[g / 4u][g % 4u]) - top);
    }
    let nan = (bitcast<vec4<u32>>(total) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return select(top + log2(sum), total, nan);
}

@compute @workgroup_size(LANES)
fn component_scores(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    let place = number / params.parts;
    if place >= params.places {
        return;
    }
    let part = number % params.parts;
    let head = columns_of(place % params.heads);
    // Without ranks one workgroup of a place tells them: the others need not wait for sums.
    let centres = choose(head, place, RANKED || (MEAN && part == 0u), index);
    var tops: array<f32, 4u * QUADS>;
    var totals: array<f32, 4u * QUADS>;
    for (var g = 0u; g < 4u * QUADS; g += 1u) {
        tops[g] = NO_KEY;
    }
    let step = 8u * LANES * params.parts;
    for (var row = 8u * (LANES * part + index); row < head.rows; row += step) {
        let first = (head.first + row) / 8u;
        let stride = head.stride / 8u;
        var dots: Dots;
        var c = 0u;
        for (; c + AHEAD <= COMPONENTS; c += AHEAD) {
            var pieces: array<vec4<u32>, AHEAD>;
            for (var i = 0u; i < AHEAD; i += 1u) {
                pieces[i] = columns[first + chosen[c + i] * stride];
            }
            for (var i = 0u; i < AHEAD; i += 1u) {
                let low = first_four(pieces[i]);
                let high = last_four(pieces[i]);
                for (var g = 0u; g < GROUP; g += 1u) {
                    let weight = vec4<f32>(weights[(c + i) * GROUP + g]);
                    dots[2u * g] = fma(weight, low, dots[2u * g]);
                    dots[2u * g + 1u] = fma(weight, high, dots[2u * g + 1u]);
                }
            }
        }
        for (; c < COMPONENTS; c += 1u) {
            let piece = columns[first + chosen[c] * stride];
            for (var g = 0u; g < GROUP; g += 1u) {
                let weight = vec4<f32>(weights[c * GROUP + g]);
                dots[2u * g] = fma(weight, first_four(piece), dots[2u * g]);
                dots[2u * g + 1u] = fma(weight, last_four(piece), dots[2u * g + 1u]);
            }
        }
        // The last piece may have fewer rows.
        let low_rows = vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(head.rows);
        let high_rows = vec4<u32>(row) + vec4<u32>(4u, 5u, 6u, 7u) < vec4<u32>(head.rows);
        for (var g = 0u; g < GROUP; g += 1u) {
            let low = select(vec4<f32>(NO_KEY), dots[2u * g], low_rows);
            let high = select(vec4<f32>(NO_KEY), dots[2u * g + 1u], high_rows);
            let at = ((place * GROUP + g) * params.most + row) / 4u;
            scores[at] = low;
            scores[at + 1u] = high;
            if MEAN {
                let both = max(low, high);
                let top = max(max(tops[g], max(both.x, both.y)), max(both.z, both.w));
                let powers = exp2(low - vec4<f32>(top)) + exp2(high - vec4<f32>(top));
                let sum = (powers.x + powers.y) + (powers.z + powers.w);
                totals[g] = fma(totals[g], exp2(tops[g] - top), sum);
                tops[g] = top;
            }
        }
        if RANKED {
            let at = params.ranks + (place * params.most + row) / 4u;
            scores[at] = select(vec4<f32>(NO_KEY), rank(dots, 0u, centres), low_rows);
            scores[at + 1u] = select(vec4<f32>(NO_KEY), rank(dots, 1u, centres), high_rows);
        }
    }
    if MEAN {
        for (var quad = 0u; quad < QUADS; quad += 1u) {
            let g = 4u * quad;
            lane_tops[index] = vec4<f32>(tops[g], tops[g + 1u], tops[g + 2u], tops[g + 3u]);
            lane_sums[index] = vec4<f32>(totals[g], totals[g + 1u], totals[g + 2u], totals[g + 3u]);
            merge_lanes(index);
            if index < 4u && g + index < GROUP {
                let at = (place * GROUP + g + index) * (params.parts + 1u);
                store_part(at + part, vec2<f32>(lane_tops[0][index], lane_sums[0][index]));
                if part == 0u {
                    var all = centres;
                    store_part(at + params.parts, vec2<f32>(all[QUADS + quad][index], 0.0));
                }
            }
            workgroupBarrier();
        }
    }
}
