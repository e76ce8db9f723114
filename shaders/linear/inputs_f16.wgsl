// Inputs of a layer as f16, two a word; needs no feature. Sibling: inputs_f32.wgsl.

@group(0) @binding(1) var<storage, read> x: array<u32>;

fn x_at(at: u32) -> f32 {
    let both = unpack2x16float(x[at / 2u]);
    return select(both.x, both.y, (at & 1u) == 1u);
}
