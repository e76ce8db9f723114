// f32 activations where the columns are a multiple of 32, so that no run is cut.

@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;

// Eight neighbouring columns.
struct Run {
    low: vec4<f32>,
    high: vec4<f32>,
}

alias Loaded = Run;

fn unpack(run: Loaded) -> Run {
    return run;
}

fn load_run(vector: u32, col: u32) -> Loaded {
    let at = (vector * params.cols + col) / 4u;
    return Run(x[at], x[at + 1u]);
}
