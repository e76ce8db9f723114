// Sums over teams of 32 lanes of a workgroup of 256, by subgroups of `SUBGROUP` lanes each, which is a
// power of two up to 32: where it is 32 nobody waits for another subgroup.
// Sibling: teams_workgroup.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) place: u32,
}

// Subgroups of a team.
const PARTS: u32 = 32u / SUBGROUP;

var<workgroup> team_parts: array<u32, 8u * PARTS>;

fn team_of(lane: Lane) -> u32 {
    return lane.subgroup / PARTS;
}

fn place_of(lane: Lane) -> u32 {
    return lane.subgroup % PARTS * SUBGROUP + lane.place;
}

// Sums of the subgroups, for the others of a team.
fn share(sum: u32, lane: Lane) {
    // Others may still read what was there before.
    workgroupBarrier();
    if lane.place == 0u {
        team_parts[lane.subgroup] = sum;
    }
    workgroupBarrier();
}

// The sum over a team. To be called by all lanes.
fn team_sum(value: u32, lane: Lane) -> u32 {
    var sum = subgroupAdd(value);
    if PARTS > 1u {
        share(sum, lane);
        sum = 0u;
        for (var part = 0u; part < PARTS; part += 1u) {
            sum += team_parts[team_of(lane) * PARTS + part];
        }
    }
    return sum;
}

// How many lanes of a team say yes. To be called by all lanes.
fn team_count(yes: bool, lane: Lane) -> u32 {
    if PARTS > 1u {
        return team_sum(u32(yes), lane);
    }
    return countOneBits(subgroupBallot(yes).x);
}

// The sum over the lower places of a team. To be called by all lanes.
fn team_before(value: u32, lane: Lane) -> u32 {
    var sum = subgroupExclusiveAdd(value);
    if PARTS > 1u {
        share(subgroupAdd(value), lane);
        for (var part = team_of(lane) * PARTS; part < lane.subgroup; part += 1u) {
            sum += team_parts[part];
        }
    }
    return sum;
}
