// y = a + b, one word of y a lane.

override WORKGROUP: u32 = 64u;

struct Params {
    // Elements.
    len: u32,
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [len].
@group(0) @binding(2) var<storage, read> b: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn add(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    add_word((group.y * groups.x + group.x) * WORKGROUP + index);
}
