// Sums of keys, of their squares and of values over rows.
// Expects: a part with run: row_sums/blocks.wgsl or row_sums/total.wgsl.

@compute @workgroup_size(LANES)
fn row_sums(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    run(group.y * groups.x + group.x, index);
}
