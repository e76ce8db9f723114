// Reads a buffer once, as fast as memory gives it: dst[lane] is the exclusive or of what the lane
// read, so that nothing can be left out.
//
// Lane l of `lanes` takes quads l, l + lanes, l + 2 lanes, ...: neighbours read neighbours. Four
// loads do not wait for each other.

struct Params {
    quads: u32,
    lanes: u32,
}

override WORKGROUP: u32 = 256u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> src: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> dst: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn stream_read(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let lane = (group.y * groups.x + group.x) * WORKGROUP + index;
    if lane >= params.lanes {
        return;
    }
    let step = params.lanes;
    var a = vec4<u32>();
    var b = vec4<u32>();
    var c = vec4<u32>();
    var d = vec4<u32>();
    var at = lane;
    for (; at + 3u * step < params.quads; at += 4u * step) {
        let p = src[at];
        let q = src[at + step];
        let r = src[at + 2u * step];
        let s = src[at + 3u * step];
        a ^= p;
        b ^= q;
        c ^= r;
        d ^= s;
    }
    for (; at < params.quads; at += step) {
        a ^= src[at];
    }
    let all = (a ^ b) ^ (c ^ d);
    dst[lane] = all.x ^ all.y ^ all.z ^ all.w;
}
