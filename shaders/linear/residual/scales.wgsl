// Scales of f16, two outputs a word.

@group(0) @binding(2) var<storage, read> scales: array<u32>;

// Of an output of even number and the next.
fn scales_of(row: u32) -> vec2<f32> {
    let both = scales[row / 2u];
    return vec2<f32>(half_to_float(both & 0xffffu), half_to_float(both >> 16u));
}
