// No sums of weights are asked for. Sibling: parts_stored.wgsl.

const MEAN: bool = false;

fn store_part(at: u32, value: vec2<f32>) {}
