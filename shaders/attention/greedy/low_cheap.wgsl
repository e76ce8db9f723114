// As many steps as the sum of all that the other side takes allows. The element that goes beyond it is
// found digit by digit, by sums of the elements that have each digit.
// Expects: const LEVELS, digits of 8 bits of a magnitude. Siblings: low_exact.wgsl, low_all.wgsl.

const COLUMNS: u32 = HALF * EACH;

// Of each side's columns, what is read: factors, first and last element, and vectors before it.
var<workgroup> factors: array<f32, 2u * COLUMNS>;
var<workgroup> begins: array<u32, 2u * COLUMNS>;
var<workgroup> ends: array<u32, 2u * COLUMNS>;
var<workgroup> vectors_before: array<u32, 2u * COLUMNS>;
var<workgroup> vectors: vec2<u32>;
var<workgroup> digit_low: array<atomic<u32>, 256>;
var<workgroup> digit_high: array<atomic<u32>, 256>;
var<workgroup> digit_groups: array<vec2<u32>, 16>;
var<workgroup> digit: u32;
var<workgroup> sum_before: vec2<u32>;
var<workgroup> beyond: u32;

// Elements of every walk from `above` to `reached`, as vectors of eight. To be called by all lanes.
fn list_vectors(lane: Lane) {
    let side = side_of(lane);
    var own = 0u;
    var counts: array<u32, EACH>;
    for (var i = 0u; i < EACH; i += 1u) {
        let walk = walks[i];
        let at = COLUMNS * side + column_of(lane, i);
        let some = walk.above < walk.reached;
        let falls = walk.factor < 0.0;
        let begin = select(walk.rows - walk.reached, walk.above, falls);
        let end = select(walk.rows - walk.above, walk.reached, falls);
        factors[at] = walk.factor;
        begins[at] = walk.first + begin;
        ends[at] = walk.first + end;
        counts[i] = select(0u, (walk.first + end + 7u) / 8u - (walk.first + begin) / 8u, some);
        own += counts[i];
    }
    equal_lanes[lane.index] = own;
    workgroupBarrier();
    let group = lane.index / 16u;
    var before = 0u;
    for (var i = 16u * group; i < lane.index; i += 1u) {
        before += equal_lanes[i];
    }
    if lane.index % 16u == 15u {
        equal_groups[group] = before + own;
    }
    workgroupBarrier();
    for (var i = 8u * side; i < group; i += 1u) {
        before += equal_groups[i];
    }
    for (var i = 0u; i < EACH; i += 1u) {
        vectors_before[COLUMNS * side + column_of(lane, i)] = before;
        before += counts[i];
    }
    if lane.index % HALF == HALF - 1u {
        vectors[side] = before;
    }
    workgroupBarrier();
}

// The column that vector `at` of a side belongs to: the last that begins there or before.
fn column_with(at: u32, side: u32) -> u32 {
    var column = COLUMNS * side;
    for (var half = COLUMNS / 2u; half > 0u; half /= 2u) {
        column = select(column, column + half, vectors_before[column + half] <= at);
    }
    return column;
}

// The magnitudes of a vector, 0 for elements that are not to be read.
fn magnitudes(at: u32, side: u32) -> array<u32, 8> {
    let column = column_with(at, side);
    let begin = begins[column];
    let end = ends[column];
    let vector = begin / 8u + at - vectors_before[column];
    let words = sorted[vector];
    let factor = factors[column];
    var all: array<u32, 8>;
    for (var k = 0u; k < 4u; k += 1u) {
        let pair = unpack2x16float(words[k]);
        let element = 8u * vector + 2u * k;
        let first = u32(max(product(factor, pair.x), 0));
        let second = u32(max(product(factor, pair.y), 0));
        all[2u * k] = select(0u, first, element >= begin && element < end);
        all[2u * k + 1u] = select(0u, second, element + 1u >= begin && element + 1u < end);
    }
    return all;
}

// The sum of all elements of a side that are listed.
fn sum_of(side: u32) -> vec2<u32> {
    let parts = total(side);
    return add_wide(vec2<u32>(parts.x, parts.z), vec2<u32>(parts.y << 16u, parts.y >> 16u));
}

fn add_digit(place: u32, sum: u32) {
    if sum > 0u {
        let old = atomicAdd(&digit_low[place], sum);
        if old + sum < old {
            atomicAdd(&digit_high[place], 1u);
        }
    }
}

// Sums of the low side's elements by their digit, which is `shift` bits up. To be called by all lanes.
fn count_digits(shift: u32, lane: Lane) {
    atomicStore(&digit_low[lane.index], 0u);
    atomicStore(&digit_high[lane.index], 0u);
    list_vectors(lane);
    for (var at = lane.index; at < vectors.y; at += 256u) {
        var all = magnitudes(at, 1u);
        // Neighbours mostly have the same digit.
        var place = 0u;
        var sum = 0u;
        for (var k = 0u; k < 8u; k += 1u) {
            let own = (all[k] >> shift) & 255u;
            if own != place {
                add_digit(place, sum);
                sum = 0u;
                place = own;
            }
            sum += all[k];
        }
        add_digit(place, sum);
    }
    workgroupBarrier();
}

fn digit_sum(i: u32) -> vec2<u32> {
    return vec2<u32>(atomicLoad(&digit_low[255u - i]), atomicLoad(&digit_high[255u - i]));
}

// The digit with which sums from the largest on, after `sum`, go beyond `limit`.
fn find_digit(sum: vec2<u32>, limit: vec2<u32>, lane: Lane) {
    let own = digit_sum(lane.index);
    let group = lane.index / 16u;
    var before = sum;
    for (var i = 16u * group; i < lane.index; i += 1u) {
        before = add_wide(before, digit_sum(i));
    }
    if lane.index % 16u == 15u {
        digit_groups[group] = less_wide(add_wide(before, own), sum);
    }
    workgroupBarrier();
    for (var i = 0u; i < group; i += 1u) {
        before = add_wide(before, digit_groups[i]);
    }
    if at_most(before, limit) && !at_most(add_wide(before, own), limit) {
        digit = 255u - lane.index;
        sum_before = before;
    }
    workgroupBarrier();
}

// Steps on the low side, where `most` are left to take, and what it takes with them. To be called by all
// lanes.
fn take_low(most: u32, row: u32, steps: u32, lane: Lane) -> u32 {
    let side = side_of(lane);
    for (var i = 0u; i < EACH; i += 1u) {
        walks[i].above = 0u;
    }
    list_vectors(lane);
    var sum = vec2<u32>(0u);
    for (var at = lane.index % HALF; at < vectors[side]; at += HALF) {
        let all = magnitudes(at, side);
        // Each is at most 2^28.
        let four = vec2<u32>(all[0] + all[1] + all[2] + all[3], all[4] + all[5] + all[6] + all[7]);
        sum = add_wide(sum, vec2<u32>(four.x + four.y, 0u));
    }
    add_up(vec3<u32>(sum.x & 0xffffu, sum.x >> 16u, sum.y), lane);
    let limit = sum_of(0u);
    if lane.index == 0u {
        beyond = u32(!at_most(sum_of(1u), limit));
    }
    if workgroupUniformLoad(&beyond) == 0u {
        for (var i = 0u; i < EACH; i += 1u) {
            walks[i].above = walks[i].reached;
        }
        return most;
    }
    // What the high side takes stays.
    var taken: array<u32, EACH>;
    for (var i = 0u; i < EACH; i += 1u) {
        taken[i] = walks[i].reached;
        walks[i].reached = select(walks[i].reached, 0u, side == 0u);
    }
    // The element that goes beyond has these digits, and before it comes this sum.
    var value = 0u;
    var before = vec2<u32>(0u);
    for (var level = LEVELS; level > 0u; level -= 1u) {
        let shift = 8u * (level - 1u);
        count_digits(shift, lane);
        find_digit(before, limit, lane);
        value = (value << 8u) | digit;
        before = sum_before;
        for (var i = 0u; i < EACH; i += 1u) {
            let counts = counts_of(walks[i], vec3<u32>(value + 1u, value, value) << vec3<u32>(shift));
            walks[i].above = counts.x;
            walks[i].reached = counts.y;
        }
        // Digits are counted anew.
        workgroupBarrier();
    }
    // Elements at the threshold that the sum allows, and one more: it is asked for before.
    let rest = divide_wide(less_wide(limit, before), max(value, 1u)) + 1u;
    add_up(vec3<u32>(sum_above(), 0u, 0u), lane);
    take_equal(rest, lane);
    if side == 0u {
        for (var i = 0u; i < EACH; i += 1u) {
            walks[i].above = taken[i];
            walks[i].reached = taken[i];
        }
    }
    return total(1u).x + rest;
}
