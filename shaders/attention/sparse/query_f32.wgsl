// Components of queries of f32, as bits. Sibling: query_f16.wgsl.

@group(0) @binding(1) var<storage, read> q: array<u32>;

fn query_bits(at: u32) -> u32 {
    return q[at];
}
