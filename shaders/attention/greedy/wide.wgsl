// Sums of 64 bits, the lower word first.

fn add_wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + u32(low < a.x));
}

// a - b, where that is not negative.
fn less_wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

fn at_most(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x <= b.x);
}

// a / b, where that fits a word and b is below 2^31.
fn divide_wide(a: vec2<u32>, b: u32) -> u32 {
    var quotient = 0u;
    var rest = 0u;
    for (var bit = 64u; bit > 0u; bit -= 1u) {
        let word = select(a.x, a.y, bit > 32u);
        rest = (rest << 1u) | ((word >> ((bit - 1u) % 32u)) & 1u);
        quotient <<= 1u;
        if rest >= b {
            rest -= b;
            quotient |= 1u;
        }
    }
    return quotient;
}
