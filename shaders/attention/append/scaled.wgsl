// What rows with a scale have in common: extremes of a row, and quotients rounded exactly.
//
// Devices may divide inexactly. A quotient is only a guess here: which side of a half it is on is
// decided by a product that f32 holds exactly, as a divisor has at most 11 bits and a code and a
// half, or half a step of f16, no more than 12 besides 7 of the divisor. No quotient of an f32 that
// is not such a half rounds to one, so all this is what exact division in f32 would give.

@group(0) @binding(STORED_PARAMS) var<storage, read_write> row_params: array<u32>;

// [ROWS, 64].
var<workgroup> extremes: array<vec2<u32>, 64u * ROWS>;

// NaN counts as 0, infinities as the largest number.
fn finite(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    let held = min(magnitude, 0x7f7fffffu) | (bits & 0x80000000u);
    return select(held, 0u, magnitude > 0x7f800000u);
}

// The row's word of parameters, of the largest `ranks` of its numbers; ranks are integers, of which
// none is flushed to 0.
fn prepare(base: u32, squad: u32, lane: u32) -> u32 {
    var own = vec2<u32>();
    for (var col = lane; col < DIM; col += 64u) {
        own = max(own, ranks(finite(numbers[base + col])));
    }
    let place = 64u * squad + lane;
    extremes[place] = own;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if lane < half {
            extremes[place] = max(extremes[place], extremes[place + half]);
        }
        workgroupBarrier();
    }
    return params_of(extremes[64u * squad]);
}

fn put_params(row: u32, stored: u32) {
    row_params[row] = stored;
}

// The f16 nearest to a / divisor, ties to even, as bits; 65504 at most. `a` is not negative.
fn half_quotient(a: f32, divisor: f32) -> u32 {
    let guess = float_to_half(min(a / divisor, 65504.0));
    let odd = (guess & 1u) == 1u;
    let middle = half_to_float(guess);
    let above = divisor * (0.5 * (middle + half_to_float(guess + 1u)));
    if guess < 0x7bffu && (a > above || (a == above && odd)) {
        return guess + 1u;
    }
    if guess > 0u {
        let below = divisor * (0.5 * (middle + half_to_float(guess - 1u)));
        if a < below || (a == below && odd) {
            return guess - 1u;
        }
    }
    return guess;
}

// The whole number nearest to a / scale, ties to even, `top` at most; 0 without a scale. `a` is not
// negative.
fn whole_quotient(a: f32, scale: f32, top: f32) -> u32 {
    if scale == 0.0 {
        return 0u;
    }
    let held = min(a, top * scale);
    let floor_guess = clamp(floor(held / scale), 0.0, top);
    let whole = u32(floor_guess);
    let middle = scale * (floor_guess + 0.5);
    if held > middle || (held == middle && (whole & 1u) == 1u) {
        return whole + 1u;
    }
    return whole;
}
