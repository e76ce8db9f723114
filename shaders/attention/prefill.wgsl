// o = the attention of many new tokens to the rows of a cache.
//
// A workgroup has a tile of query rows of a KV head and goes through the keys that some of them see, tile
// by tile.

@compute @workgroup_size(LANES)
fn prefill(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    if number >= params.heads * params.row_tiles {
        return;
    }
    // The last rows see most keys: they come first.
    let at = params.row_tiles - 1u - number % params.row_tiles;
    attend(segment_of(number / params.row_tiles), at * TILE, lane);
}
