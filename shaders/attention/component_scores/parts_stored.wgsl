// Sums of weights are asked for. Sibling: parts_none.wgsl.

const MEAN: bool = true;

// [T H G][parts + 1]: the largest logit and the sum of weights; last the logarithm of what the components
// that are not read come to.
@group(0) @binding(24) var<storage, read_write> parts: array<vec2<f32>>;

fn store_part(at: u32, value: vec2<f32>) {
    parts[at] = value;
}
