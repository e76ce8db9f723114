// Sums over teams of 32 lanes of a workgroup of 256, through workgroup memory. Needs no feature.
// Sibling: teams_subgroup.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

var<workgroup> team_values: array<u32, 256>;

fn team_of(lane: Lane) -> u32 {
    return lane.index / 32u;
}

fn place_of(lane: Lane) -> u32 {
    return lane.index % 32u;
}

fn share(value: u32, lane: Lane) {
    // Others may still read what was there before.
    workgroupBarrier();
    team_values[lane.index] = value;
    workgroupBarrier();
}

// The sum over a team. To be called by all lanes.
fn team_sum(value: u32, lane: Lane) -> u32 {
    share(value, lane);
    var sum = 0u;
    for (var i = 0u; i < 32u; i += 1u) {
        sum += team_values[32u * team_of(lane) + i];
    }
    return sum;
}

// How many lanes of a team say yes. To be called by all lanes.
fn team_count(yes: bool, lane: Lane) -> u32 {
    return team_sum(u32(yes), lane);
}

// The sum over the lower places of a team. To be called by all lanes.
fn team_before(value: u32, lane: Lane) -> u32 {
    share(value, lane);
    var sum = 0u;
    for (var i = 0u; i < 31u; i += 1u) {
        let other = team_values[32u * team_of(lane) + i];
        sum += select(0u, other, i < place_of(lane));
    }
    return sum;
}
