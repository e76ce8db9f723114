// Counts the keys of a subgroup at once where they are all in one bin, as many equal scores would be:
// additions to one place wait for each other. Sibling: tally_plain.wgsl.

// To be called by all lanes.
fn tally(bin: u32, counts: bool, lane: Lane) {
    let own = select(BINS, bin, counts);
    let first = subgroupBroadcastFirst(own);
    if subgroupAll(own == first) {
        if lane.place == 0u && counts {
            atomicAdd(&bins[bin], SUBGROUP);
        }
    } else if counts {
        atomicAdd(&bins[bin], 1u);
    }
}
