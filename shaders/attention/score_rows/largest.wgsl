// The largest logit of each query row's list: a workgroup a query row.

// [lists], rows of each first.
@group(0) @binding(20) var<storage, read> counts: array<vec4<u32>>;
// [T H G].
@group(0) @binding(22) var<storage, read_write> tops: array<u32>;
// [lists][ROWS][stride].
@group(0) @binding(27) var<storage, read> picked: array<f32>;

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

var<workgroup> top: atomic<u32>;

fn run(query: u32, lane: Lane) {
    if query >= params.queries {
        return;
    }
    if lane.index == 0u {
        atomicStore(&top, 0u);
    }
    workgroupBarrier();
    let count = min(counts[query / ROWS].x, params.stride);
    var best = 0u;
    for (var at = lane.index; at < count; at += LANES) {
        best = max(best, image_of(picked[query * params.stride + at]));
    }
    if best > 0u {
        atomicMax(&top, best);
    }
    workgroupBarrier();
    if lane.index == 0u {
        tops[query] = atomicLoad(&top);
    }
}
