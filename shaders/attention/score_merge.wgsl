// score = the best of what slices of the query rows found for a key.

const LANES: u32 = 128u;

// [slices, H, chunk].
@group(0) @binding(8) var<storage, read> parts: array<f32>;
// From `score_first` on, `score_stride` from head to head.
@group(0) @binding(10) var<storage, read_write> score: array<f32>;

@compute @workgroup_size(LANES)
fn score_merge(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let at = (group.y * groups.x + group.x) * LANES + index;
    let all = params.heads * params.chunk;
    if at >= all {
        return;
    }
    var best = NO_KEY;
    for (var slice = 0u; slice < params.slices; slice += 1u) {
        best = larger(best, parts[slice * all + at]);
    }
    let head = at / params.chunk;
    score[params.score_first + head * params.score_stride + at % params.chunk] = score_of(best);
}
