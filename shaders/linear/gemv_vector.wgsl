// y = W x + bias for weights in pairs and one vector of activations.
//
// What a workgroup does is in multiply_rows.wgsl; a word holds 32 codes, 64 weights.

@compute @workgroup_size(WORKGROUP)
fn gemv_vector(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    multiply_rows(group.y * groups.x + group.x, lane);
}
