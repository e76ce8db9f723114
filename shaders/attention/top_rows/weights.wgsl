// Sums of powers over their largest scores: of all rows of an index, and with the other sign of those that are
// listed. A lane adds up its share of both. Siblings: weights_none.wgsl, picked.wgsl.

// Of every query row: the largest score so far, and the signed sum of weights over it.
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
    var all = beside;
    for (var i = 0u; i < QUERIES; i += 1u) {
        let query = list * QUERIES + i;
        let score = scores[(query * params.stride + row) / 4u][row % 4u];
        all.sums[i] = joined(all.sums[i], vec2<f32>(score, -1.0));
    }
    return all;
}
