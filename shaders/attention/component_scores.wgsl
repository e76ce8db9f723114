// Logits of the rows of an index from the components that are largest in the queries: a workgroup finds
// them for its token and KV head, then goes through pieces of eight rows, a lane one at a time.
// Of up to four query rows a block, those that fill it up have no weight; columns are read again for each block.
// Expects: const GROUP, DIM (a multiple of 4), COMPONENTS (at most DIM), LANES, RANKED, whether query rows
// share a list; a block of query rows; parts with q_quad, and with MEAN and store_unread;
// sparse/index_map.wgsl.

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
// Blocks of query rows.
const BLOCKS: u32 = (GROUP + BLOCK - 1u) / BLOCK;
// Columns that are under way at a time.
const AHEAD: u32 = 8u;
// What the logits of a query row that fills a block up are lowered by.
const NOBODY: f32 = 1e30;

// Sums of magnitudes, as bits: of numbers that are not negative their order is that of the numbers, and NaN
// is above all.
var<workgroup> magnitudes: array<vec4<u32>, DIM_QUADS>;
var<workgroup> chosen: array<u32, COMPONENTS>;
// What a component is multiplied by, [COMPONENTS][BLOCKS].
var<workgroup> weights: array<Rows, COMPONENTS * BLOCKS>;
// What the components that are read, and those that are not, are expected to come to.
var<workgroup> centres: array<vec4<f32>, BLOCKS>;
var<workgroup> others: array<vec4<f32>, BLOCKS>;
// Of four query rows: what is read, and what is not.
var<workgroup> lane_tops: array<vec4<f32>, LANES>;
var<workgroup> lane_sums: array<vec4<f32>, LANES>;

// What a normal distribution as wide as column `j` makes of `x` times its numbers: the logarithm of the mean
// power, in base 2.
fn expected(columns: Columns, head: u32, j: u32, x: vec4<f32>) -> vec4<f32> {
    let count = f32(max(columns.rows, 1u));
    let mean = sums[3u * head * DIM + j] / count;
    let variance = max(sums[(3u * head + 1u) * DIM + j] / count - mean * mean, 0.0);
    return fma(HALF_LN_2 * x * x, vec4<f32>(variance), x * mean);
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

// A number of the block's four query rows from `first` on; 0 of those that fill it up.
fn four_of(place: u32, first: u32, j: u32) -> vec4<f32> {
    var four = vec4<f32>(0.0);
    for (var g = 0u; g < min(BLOCK, 4u); g += 1u) {
        if first + g < GROUP {
            four[g] = params.factor * q_quad((place * GROUP + first + g) * DIM_QUADS + j / 4u)[j % 4u];
        }
    }
    return four;
}

// Finds the components, what queries multiply them by, and what those that are read and those that are not
// are expected to come to, where anybody asks. To be called by all lanes.
fn choose(columns: Columns, place: u32, asked: bool, index: u32) {
    if index < DIM_QUADS {
        var sum = vec4<f32>(0.0);
        for (var g = 0u; g < GROUP; g += 1u) {
            sum += abs(q_quad((place * GROUP + g) * DIM_QUADS + index));
        }
        magnitudes[index] = bitcast<vec4<u32>>(sum) & vec4<u32>(0x7fffffffu);
    }
    workgroupBarrier();
    // 256 components at most, of 128 lanes.
    var low_rank = COMPONENTS;
    var high_rank = COMPONENTS;
    if index < DIM {
        low_rank = rank_of(index);
    }
    if index + LANES < DIM {
        high_rank = rank_of(index + LANES);
    }
    if low_rank < COMPONENTS {
        chosen[low_rank] = index;
    }
    if high_rank < COMPONENTS {
        chosen[high_rank] = index + LANES;
    }
    for (var block = 0u; block < BLOCKS; block += 1u) {
        var read_sum = vec4<f32>(0.0);
        var unread_sum = vec4<f32>(0.0);
        for (var i = 0u; i < 2u; i += 1u) {
            let j = index + i * LANES;
            let own = select(low_rank, high_rank, i == 1u);
            if j < DIM {
                let x = four_of(place, block * BLOCK, j);
                if own < COMPONENTS {
                    weights[own * BLOCKS + block] = block_of(x);
                }
                if asked {
                    let terms = expected(columns, place % params.heads, j, x);
                    if own < COMPONENTS {
                        read_sum += terms;
                    } else {
                        unread_sum += terms;
                    }
                }
            }
        }
        if asked {
            lane_tops[index] = read_sum;
            lane_sums[index] = unread_sum;
            add_lanes(index);
            if index == 0u {
                centres[block] = lane_tops[0];
                others[block] = lane_sums[0];
            }
            workgroupBarrier();
        }
    }
    workgroupBarrier();
}

fn first_four(piece: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(piece.x), unpack2x16float(piece.y));
}

fn last_four(piece: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(piece.z), unpack2x16float(piece.w));
}

// Eight rows of each query row of a block.
struct Eight {
    a: Rows,
    b: Rows,
    c: Rows,
    d: Rows,
    e: Rows,
    f: Rows,
    g: Rows,
    h: Rows,
}

fn added(dots: Eight, weight: Rows, piece: vec4<u32>) -> Eight {
    let low = first_four(piece);
    let high = last_four(piece);
    return Eight(
        fma(weight, Rows(low.x), dots.a),
        fma(weight, Rows(low.y), dots.b),
        fma(weight, Rows(low.z), dots.c),
        fma(weight, Rows(low.w), dots.d),
        fma(weight, Rows(high.x), dots.e),
        fma(weight, Rows(high.y), dots.f),
        fma(weight, Rows(high.z), dots.g),
        fma(weight, Rows(high.w), dots.h),
    );
}

// The dot products of eight rows with a block.
fn dots_of(first: u32, stride: u32, block: u32) -> Eight {
    var dots: Eight;
    var c = 0u;
    for (; c + AHEAD <= COMPONENTS; c += AHEAD) {
        let piece_0 = columns[first + chosen[c] * stride];
        let piece_1 = columns[first + chosen[c + 1u] * stride];
        let piece_2 = columns[first + chosen[c + 2u] * stride];
        let piece_3 = columns[first + chosen[c + 3u] * stride];
        let piece_4 = columns[first + chosen[c + 4u] * stride];
        let piece_5 = columns[first + chosen[c + 5u] * stride];
        let piece_6 = columns[first + chosen[c + 6u] * stride];
        let piece_7 = columns[first + chosen[c + 7u] * stride];
        dots = added(dots, weights[c * BLOCKS + block], piece_0);
        dots = added(dots, weights[(c + 1u) * BLOCKS + block], piece_1);
        dots = added(dots, weights[(c + 2u) * BLOCKS + block], piece_2);
        dots = added(dots, weights[(c + 3u) * BLOCKS + block], piece_3);
        dots = added(dots, weights[(c + 4u) * BLOCKS + block], piece_4);
        dots = added(dots, weights[(c + 5u) * BLOCKS + block], piece_5);
        dots = added(dots, weights[(c + 6u) * BLOCKS + block], piece_6);
        dots = added(dots, weights[(c + 7u) * BLOCKS + block], piece_7);
    }
    for (; c < COMPONENTS; c += 1u) {
        dots = added(dots, weights[c * BLOCKS + block], columns[first + chosen[c] * stride]);
    }
    return dots;
}

// What stands for no row in place of those past the last.
fn kept(dots: Eight, count: u32) -> Eight {
    let none = Rows(NO_KEY);
    return Eight(
        select(none, dots.a, RowTests(count > 0u)),
        select(none, dots.b, RowTests(count > 1u)),
        select(none, dots.c, RowTests(count > 2u)),
        select(none, dots.d, RowTests(count > 3u)),
        select(none, dots.e, RowTests(count > 4u)),
        select(none, dots.f, RowTests(count > 5u)),
        select(none, dots.g, RowTests(count > 6u)),
        select(none, dots.h, RowTests(count > 7u)),
    );
}

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// A sum of powers, relative to the largest.
struct Powers {
    top: f32,
    sum: f32,
}

// A row's powers with those of a block's query rows, each less what its query row is expected to come to: so
// that query rows of any sharpness count alike.
fn with_block(before: Powers, dots: Rows, centre: Rows) -> Powers {
    let less = dots - centre;
    var top = before.top;
    for (var r = 0u; r < BLOCK; r += 1u) {
        top = max(top, row_value(less, r));
    }
    var sum = before.sum * exp2(before.top - top);
    for (var r = 0u; r < BLOCK; r += 1u) {
        sum += exp2(row_value(less, r) - top);
    }
    return Powers(top, sum);
}

// NaN where a logit is.
fn rank(powers: Powers) -> f32 {
    return select(powers.top + log2(powers.sum), powers.sum, is_nan(powers.sum));
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
    // Without ranks only the first part has to know.
    choose(head, place, RANKED || (MEAN && part == 0u), index);
    if MEAN && part == 0u {
        for (var g = index; g < GROUP; g += LANES) {
            store_unread(place * GROUP + g, others[g / BLOCK][g % BLOCK]);
        }
    }
    let step = 8u * LANES * params.parts;
    for (var row = 8u * (LANES * part + index); row < head.rows; row += step) {
        let first = (head.first + row) / 8u;
        let stride = head.stride / 8u;
        let count = head.rows - row;
        let none = Powers(NO_KEY, 0.0);
        var rank_a = none;
        var rank_b = none;
        var rank_c = none;
        var rank_d = none;
        var rank_e = none;
        var rank_f = none;
        var rank_g = none;
        var rank_h = none;
        for (var block = 0u; block < BLOCKS; block += 1u) {
            let dots = kept(dots_of(first, stride, block), count);
            for (var r = 0u; r < BLOCK; r += 1u) {
                let g = block * BLOCK + r;
                if g < GROUP {
                    let at = ((place * GROUP + g) * params.most + row) / 4u;
                    scores[at] = vec4<f32>(
                        row_value(dots.a, r),
                        row_value(dots.b, r),
                        row_value(dots.c, r),
                        row_value(dots.d, r),
                    );
                    scores[at + 1u] = vec4<f32>(
                        row_value(dots.e, r),
                        row_value(dots.f, r),
                        row_value(dots.g, r),
                        row_value(dots.h, r),
                    );
                }
            }
            if RANKED {
                let there = vec4<u32>(block * BLOCK) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(GROUP);
                let centre = block_of(select(vec4<f32>(NOBODY), centres[block], there));
                rank_a = with_block(rank_a, dots.a, centre);
                rank_b = with_block(rank_b, dots.b, centre);
                rank_c = with_block(rank_c, dots.c, centre);
                rank_d = with_block(rank_d, dots.d, centre);
                rank_e = with_block(rank_e, dots.e, centre);
                rank_f = with_block(rank_f, dots.f, centre);
                rank_g = with_block(rank_g, dots.g, centre);
                rank_h = with_block(rank_h, dots.h, centre);
            }
        }
        if RANKED {
            // The last piece may have fewer rows.
            let low_rows = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count);
            let high_rows = vec4<u32>(4u, 5u, 6u, 7u) < vec4<u32>(count);
            let low = vec4<f32>(rank(rank_a), rank(rank_b), rank(rank_c), rank(rank_d));
            let high = vec4<f32>(rank(rank_e), rank(rank_f), rank(rank_g), rank(rank_h));
            let at = params.ranks + (place * params.most + row) / 4u;
            scores[at] = select(vec4<f32>(NO_KEY), low, low_rows);
            scores[at + 1u] = select(vec4<f32>(NO_KEY), high, high_rows);
        }
    }
}
