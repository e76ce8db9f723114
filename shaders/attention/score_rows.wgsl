// Exact logits of rows, and the largest of each query row: a part has what a workgroup does.

@compute @workgroup_size(LANES)
fn score_rows(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    run(group.y * groups.x + group.x, lane);
}
