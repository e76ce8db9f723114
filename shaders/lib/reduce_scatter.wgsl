// Sums over a workgroup: a reduce-scatter within each subgroup, then workgroup memory in a fixed
// order. With SUMS sums and n lanes it takes SUMS - 1 + log2(n / SUMS) shuffles where adding them
// one after the other takes SUMS * log2(n).
// Expects: override WORKGROUP, const SUMS (a power of two, at most the smallest subgroup), const
// SUBGROUPS, const LARGEST_SUBGROUP; subgroups without idle lanes.
// Siblings: reduce_workgroup.wgsl, reduce_subgroup.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) place: u32,
    @builtin(subgroup_size) size: u32,
}

var<workgroup> partial_sums: array<f32, SUMS * SUBGROUPS>;

// Adds up `sums[s]` of all lanes for every s. Afterwards any lane may call `reduced(s)`.
fn reduce_sums(sums: array<f32, SUMS>, lane: Lane) {
    var own = sums;
    // Neighbours at distance `bit` share the work: one keeps the lower half of the sums, the other
    // the upper half, and each receives what the other gives away.
    var bit = 1u;
    var kept = 0u;
    for (var half = SUMS / 2u; half > 0u; half /= 2u) {
        let upper = (lane.place & bit) != 0u;
        for (var s = 0u; s < half; s += 1u) {
            let given = select(own[s + half], own[s], upper);
            let keep = select(own[s], own[s + half], upper);
            own[s] = keep + subgroupShuffleXor(given, bit);
        }
        kept += select(0u, half, upper);
        bit *= 2u;
    }
    var sum = own[0];
    // Up to the largest subgroup, not to this one's size: how often to go round has to be plain.
    for (; bit < LARGEST_SUBGROUP; bit *= 2u) {
        let other = subgroupShuffleXor(sum, bit);
        sum += select(0.0, other, bit < lane.size);
    }
    if lane.place < SUMS {
        partial_sums[kept * SUBGROUPS + lane.subgroup] = sum;
    }
    workgroupBarrier();
}

fn reduced(sum: u32, lane: Lane) -> f32 {
    var total = 0.0;
    for (var s = 0u; s < lane.subgroups; s += 1u) {
        total += partial_sums[sum * SUBGROUPS + s];
    }
    return total;
}
