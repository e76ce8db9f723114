// f16 activations where the columns are a multiple of 32, eight a load; needs no feature.

@group(0) @binding(4) var<storage, read> x: array<vec4<u32>>;

// Eight neighbouring columns.
struct Run {
    low: vec4<f32>,
    high: vec4<f32>,
}

// A run as it is loaded: unpacked where it is used, it takes half the registers until then.
alias Loaded = vec4<u32>;

fn load_run(vector: u32, col: u32) -> Loaded {
    return x[(vector * params.cols + col) / 8u];
}

fn unpack(words: Loaded) -> Run {
    return Run(
        vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)),
        vec4<f32>(unpack2x16float(words.z), unpack2x16float(words.w)),
    );
}
