// Running sums over a workgroup of 256 lanes: groups of 16, then the groups. Needs no feature.
// Lanes of a group read the same place at a time, which workgroup memory serves at once.

var<workgroup> scanned: array<u32, 256>;
var<workgroup> scanned_groups: array<u32, 16>;

struct Scan {
    // The sum of the values of lower lanes.
    before: u32,
    // The sum of all.
    all: u32,
}

// To be called by all lanes.
fn scan(value: u32, index: u32) -> Scan {
    scanned[index] = value;
    workgroupBarrier();
    let group = index / 16u;
    let place = index % 16u;
    var before = 0u;
    for (var i = 0u; i < 15u; i += 1u) {
        let other = scanned[16u * group + i];
        before += select(0u, other, i < place);
    }
    if place == 15u {
        scanned_groups[group] = before + value;
    }
    workgroupBarrier();
    var all = 0u;
    for (var i = 0u; i < 16u; i += 1u) {
        let other = scanned_groups[i];
        before += select(0u, other, i < group);
        all += other;
    }
    return Scan(before, all);
}
