// The state of attention to a part of a list of rows, for all query rows of the list.

@compute @workgroup_size(LANES)
fn attend_rows(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    if number >= params.lists * params.splits {
        return;
    }
    attend(segment_of(number), lane);
}
