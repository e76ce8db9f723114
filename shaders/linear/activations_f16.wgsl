// f16 activations, two a word, any number of columns; needs no feature.
// Siblings: activations_f16_quads.wgsl, activations_f32.wgsl, activations_f32_quads.wgsl.

@group(0) @binding(4) var<storage, read> x: array<u32>;

// Eight neighbouring columns.
struct Run {
    low: vec4<f32>,
    high: vec4<f32>,
}

alias Loaded = Run;

fn unpack(run: Loaded) -> Run {
    return run;
}

// Activations of columns `col` .. `col + 8` of one vector; 0 past the last column, whatever the
// buffer holds there. Clamped and selected for the reason given in the f32 sibling.
fn load_run(vector: u32, col: u32) -> Loaded {
    return Run(four(vector * params.cols, col), four(vector * params.cols, col + 4u));
}

fn four(base: u32, col: u32) -> vec4<f32> {
    let at = vec4<u32>(col, col + 1u, col + 2u, col + 3u);
    let safe = base + min(at, vec4<u32>(params.cols - 1u));
    let values = vec4<f32>(half(safe.x), half(safe.y), half(safe.z), half(safe.w));
    return select(vec4<f32>(), values, at < vec4<u32>(params.cols));
}

// Element `at`: vectors of an odd number of columns begin within a word.
fn half(at: u32) -> f32 {
    let both = unpack2x16float(x[at / 2u]);
    return select(both.x, both.y, (at & 1u) == 1u);
}
