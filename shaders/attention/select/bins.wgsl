// A histogram of the workgroup's own, added to the segment's.

// [segments][BINS], then [segments][chunks] of equal keys.
@group(0) @binding(6) var<storage, read_write> work: array<atomic<u32>>;

var<workgroup> bins: array<atomic<u32>, BINS>;

fn clear_bins(index: u32) {
    for (var bin = index; bin < BINS; bin += 256u) {
        atomicStore(&bins[bin], 0u);
    }
    workgroupBarrier();
}

// To be called by all lanes.
fn add_bins(segment: u32, index: u32) {
    workgroupBarrier();
    for (var bin = index; bin < BINS; bin += 256u) {
        let count = atomicLoad(&bins[bin]);
        if count > 0u {
            atomicAdd(&work[segment * BINS + bin], count);
            atomicStore(&bins[bin], 0u);
        }
    }
    workgroupBarrier();
}
