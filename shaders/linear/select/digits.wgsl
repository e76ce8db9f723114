// Finds a key among many, digit by digit of 8 bits from the top, with a histogram in workgroup
// memory. All lanes of a workgroup of 256 call each function.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

// Keys are made as long as whole digits.
const DIGITS: u32 = (KEY_BITS + 7u) / 8u;

fn long_key(channel: u32) -> u32 {
    return key_of(channel) << (32u - KEY_BITS);
}

var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> found: Found;

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

fn count_key(key: u32, known: u32, shift: u32) {
    // Digits above agree where the difference is in this digit or below.
    let digit = (key ^ known) >> shift;
    if digit < 256u {
        atomicAdd(&bins[digit], 1u);
    }
}

// The digit of the last wanted key, from the largest down.
fn find_digit(before: Found, shift: u32, index: u32) -> Found {
    workgroupBarrier();
    let digit = 255u - index;
    let own = atomicLoad(&bins[digit]);
    let larger = scan(own, index).before;
    if larger < before.wanted && before.wanted <= larger + own {
        found = Found(before.key | (digit << shift), before.wanted - larger);
    }
    workgroupBarrier();
    return found;
}

// Keys above the one found in the low half, keys equal to it in the high half.
fn compared(key: u32, last: Found) -> u32 {
    return u32(key > last.key) + (u32(key == last.key) << 16u);
}
