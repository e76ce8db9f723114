// Must fail: a barrier that only some invocations reach. naga does not notice; this front end must.
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_id) id: vec3<u32>) {
    if id.x < 3u {
        workgroupBarrier();
    }
    y[id.x] = 1.0;
}
