// Lists of the rows that a greedy search found, and the weight of those that no list has.
// Expects: a part with run: list_rows/hits.wgsl or list_rows/rest.wgsl.

@compute @workgroup_size(LANES)
fn list_rows(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    run(group.y * groups.x + group.x, index);
}
