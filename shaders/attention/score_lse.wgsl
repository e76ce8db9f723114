// lse = the logarithm of what the exponentials of a query row's logits add up to, over some keys.
//
// A workgroup has a tile of query rows of a KV head and goes through the keys that some of them see.

@compute @workgroup_size(LANES)
fn score_lse(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    if number >= params.heads * params.row_tiles {
        return;
    }
    add_up(segment_of(number / params.row_tiles), number % params.row_tiles * TILE, lane);
}
