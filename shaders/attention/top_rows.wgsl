// Lists of the rows with the highest ranks.
// Expects: const LANES, a part with Lane, one with make.

@compute @workgroup_size(LANES)
fn top_rows(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    make(group.y * groups.x + group.x, lane);
}
