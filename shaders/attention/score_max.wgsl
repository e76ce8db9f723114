// score = the largest attention that a key of a chunk gets from any query row of its KV head.
//
// A workgroup has a tile of keys and goes through tiles of query rows, all or a slice of them. The
// exponential is monotone: the largest exponent is kept, and one power taken at the end.

@compute @workgroup_size(LANES)
fn score_max(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    let of_head = params.key_tiles * params.slices;
    if number >= params.heads * of_head {
        return;
    }
    let first_key = number % of_head / params.slices * TILE;
    let slice = number % params.slices;
    let each = (params.row_tiles + params.slices - 1u) / params.slices;
    let tiles = vec2<u32>(slice * each, min(slice * each + each, params.row_tiles));
    find_best(segment_of(number / of_head), first_key, slice, tiles, lane);
}
