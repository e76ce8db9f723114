// o = the attention of all query rows of a KV head to the rows of segments: a workgroup has some
// segments, one after the other, and reads every row of them once.

@compute @workgroup_size(LANES)
fn decode_split(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    if number >= params.groups {
        return;
    }
    let last = schedule[params.group_first + number + 1u];
    for (var at = schedule[params.group_first + number]; at < last; at += 1u) {
        attend(segment_of(at), lane);
    }
}
