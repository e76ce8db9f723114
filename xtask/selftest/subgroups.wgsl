// Must pass: subgroup operations.
enable subgroups;
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    y[id.x] = subgroupAdd(y[id.x]);
}
