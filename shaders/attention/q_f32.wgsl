// Queries of f32. Sibling: q_f16.wgsl.

@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;

fn q_quad(at: u32) -> vec4<f32> {
    return q[at];
}
