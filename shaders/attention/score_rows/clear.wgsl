// No query row has a largest logit yet.

// [T H G].
@group(0) @binding(22) var<storage, read_write> tops: array<u32>;

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

fn run(number: u32, lane: Lane) {
    let query = number * LANES + lane.index;
    if query < params.queries {
        tops[query] = 0u;
    }
}
