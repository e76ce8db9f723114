// Scores of listed rows are copied. Siblings: weights.wgsl, weights_none.wgsl.

// [lists][QUERIES][capacity].
@group(0) @binding(27) var<storage, read_write> picked: array<f32>;

struct Beside {
    nothing: u32,
}

fn nothing() -> Beside {
    return Beside(0u);
}

fn listed(beside: Beside, list: u32, at: u32, row: u32) -> Beside {
    if at < params.capacity {
        for (var i = 0u; i < QUERIES; i += 1u) {
            let query = list * QUERIES + i;
            let score = scores[(query * params.stride + row) / 4u][row % 4u];
            picked[query * params.capacity + at] = score;
        }
    }
    return beside;
}

fn passed(beside: Beside, list: u32, quad: u32, which: vec4<bool>) -> Beside {
    return beside;
}
