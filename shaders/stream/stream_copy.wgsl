// Copies a buffer, as fast as memory takes it.
//
// Lane l of `lanes` takes quads l, l + lanes, l + 2 lanes, ...: neighbours read and write
// neighbours. Four loads are under way before the first store.

struct Params {
    quads: u32,
    lanes: u32,
}

override WORKGROUP: u32 = 256u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> src: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;

@compute @workgroup_size(WORKGROUP)
fn stream_copy(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let lane = (group.y * groups.x + group.x) * WORKGROUP + index;
    if lane >= params.lanes {
        return;
    }
    let step = params.lanes;
    var at = lane;
    for (; at + 3u * step < params.quads; at += 4u * step) {
        let p = src[at];
        let q = src[at + step];
        let r = src[at + 2u * step];
        let s = src[at + 3u * step];
        dst[at] = p;
        dst[at + step] = q;
        dst[at + 2u * step] = r;
        dst[at + 3u * step] = s;
    }
    for (; at < params.quads; at += step) {
        dst[at] = src[at];
    }
}
