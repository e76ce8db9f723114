// The best pairs of keys and values, by a radix selection of their scores: see the parts for its steps.

@compute @workgroup_size(256)
fn select_pairs(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    run(group.y * groups.x + group.x, lane);
}
