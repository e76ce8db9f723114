// f16 activations where the columns are a multiple of 32; needs no feature.

@group(0) @binding(4) var<storage, read> x: array<vec2<u32>>;

fn activations(col: u32) -> vec4<f32> {
    let words = x[col / 4u];
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
