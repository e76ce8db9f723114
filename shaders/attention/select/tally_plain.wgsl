// Counts keys one by one. Sibling: tally_subgroup.wgsl.

fn tally(bin: u32, counts: bool, lane: Lane) {
    if counts {
        atomicAdd(&bins[bin], 1u);
    }
}
