// Must pass: nothing beyond the base language.
override factor: f32 = 2.0;
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    y[id.x] = y[id.x] * factor;
}
