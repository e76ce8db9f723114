// Sums of powers of the scores of rows that are not listed, over the largest of them. A lane adds up its share.
// Siblings: weights_none.wgsl, picked.wgsl.

// Of every query row: the largest score so far, and the sum of weights over it.
struct Beside {
    sums: array<vec2<f32>, QUERIES>,
}

fn joined(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let top = max(a.x, b.x);
    return vec2<f32>(top, fma(a.y, exp2(a.x - top), b.y * exp2(b.x - top)));
}

fn nothing() -> Beside {
    var all: Beside;
    for (var i = 0u; i < QUERIES; i += 1u) {
        all.sums[i] = vec2<f32>(NO_KEY, 0.0);
    }
    return all;
}

fn listed(beside: Beside, list: u32, at: u32, row: u32) -> Beside {
    return beside;
}

// Those of a quad's rows that are not listed.
fn passed(beside: Beside, list: u32, quad: u32, which: vec4<bool>) -> Beside {
    if !any(which) {
        return beside;
    }
    var all = beside;
    for (var i = 0u; i < QUERIES; i += 1u) {
        let four = scores[(list * QUERIES + i) * (params.stride / 4u) + quad];
        let own = select(vec4<f32>(NO_KEY), four, which);
        let top = max(max(own.x, own.y), max(own.z, own.w));
        let powers = select(vec4<f32>(0.0), exp2(own - vec4<f32>(top)), which);
        let sum = (powers.x + powers.y) + (powers.z + powers.w);
        all.sums[i] = joined(all.sums[i], vec2<f32>(top, sum));
    }
    return all;
}
