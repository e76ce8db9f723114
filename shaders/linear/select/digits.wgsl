// Finds a key among many, digit by digit of 8 bits from the top, with a histogram in workgroup
// memory; each squad of 256 lanes one among keys of its own. All lanes of a workgroup call each
// function.

// 256 of each squad.
var<workgroup> bins: array<atomic<u32>, LANES>;
var<workgroup> found: array<Found, LANES / 256u>;

struct Found {
    // The digits of the key so far, at their places.
    key: u32,
    // How many of the keys that begin so are wanted, the largest of them.
    wanted: u32,
}

fn clear_bins(index: u32) {
    atomicStore(&bins[index], 0u);
    workgroupBarrier();
}

fn count_key(key: u32, known: u32, shift: u32, index: u32) {
    // Digits above agree where the difference is in this digit or below.
    let digit = (key ^ known) >> shift;
    if digit < 256u {
        atomicAdd(&bins[index / 256u * 256u + digit], 1u);
    }
}

// The digit of the last wanted key, from the largest down.
fn find_digit(before: Found, shift: u32, index: u32) -> Found {
    workgroupBarrier();
    let squad = index / 256u;
    let digit = 255u - index % 256u;
    let own = atomicLoad(&bins[256u * squad + digit]);
    let larger = scan(own, index).before;
    if larger < before.wanted && before.wanted <= larger + own {
        found[squad] = Found(before.key | (digit << shift), before.wanted - larger);
    }
    workgroupBarrier();
    return found[squad];
}

// Keys above the one found in the low half, keys equal to it in the high half.
fn compared(key: u32, last: Found) -> u32 {
    return u32(key > last.key) + (u32(key == last.key) << 16u);
}
