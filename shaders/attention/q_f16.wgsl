// Queries of f16 in pairs. Sibling: q_f32.wgsl.

@group(0) @binding(1) var<storage, read> q: array<vec2<u32>>;

fn q_quad(at: u32) -> vec4<f32> {
    let words = q[at];
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
