// f32 activations, any number of columns.
// Siblings: activations_f32_quads.wgsl, activations_f16.wgsl, activations_f16_quads.wgsl.

@group(0) @binding(4) var<storage, read> x: array<f32>;

// Eight neighbouring columns.
struct Run {
    low: vec4<f32>,
    high: vec4<f32>,
}

alias Loaded = Run;

fn unpack(run: Loaded) -> Run {
    return run;
}

// Activations of columns `col` .. `col + 8` of one vector; 0 past the last column.
fn load_run(vector: u32, col: u32) -> Loaded {
    return Run(four(vector * params.cols, col), four(vector * params.cols, col + 4u));
}

// Loads are clamped and results selected: with a branch for each of a word's 32 loads, one driver
// needs gigabytes to compile the kernel.
fn four(base: u32, col: u32) -> vec4<f32> {
    let at = vec4<u32>(col, col + 1u, col + 2u, col + 3u);
    let safe = base + min(at, vec4<u32>(params.cols - 1u));
    let values = vec4<f32>(x[safe.x], x[safe.y], x[safe.z], x[safe.w]);
    return select(vec4<f32>(), values, at < vec4<u32>(params.cols));
}
