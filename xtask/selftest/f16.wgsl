// Must pass: half precision.
enable f16;
@group(0) @binding(0) var<storage, read_write> y: array<f16>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    y[id.x] = y[id.x] * 2.0h;
}
