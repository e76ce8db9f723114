// Finds a key among many, digit by digit of 8 bits from the top, with a histogram in workgroup
// memory; or several keys side by side, each among those of a team of lanes. All lanes of a
// workgroup of 256 call each function.

// Lanes of a team, each with `SIDE` bins to look after.
const SCAN_LANES: u32 = 256u / SIDE;

// Teams have at most 1024 keys each, so that two of their bins fit a word; a lone team may have more.
var<workgroup> bins: array<atomic<u32>, BIN_WORDS>;
var<workgroup> found: array<Found, SIDE>;

struct Found {
    // The digits of the key so far, at their places.
    key: u32,
    // How many of the keys that begin so are wanted, the largest of them.
    wanted: u32,
}

fn clear_bins(index: u32) {
    for (var word = index; word < BIN_WORDS; word += 256u) {
        atomicStore(&bins[word], 0u);
    }
    workgroupBarrier();
}

fn count_key(key: u32, known: u32, shift: u32, index: u32) {
    // Digits above agree where the difference is in this digit or below.
    let digit = (key ^ known) >> shift;
    if digit < 256u {
        if SIDE > 1u {
            atomicAdd(&bins[index / SCAN_LANES * 128u + digit / 2u], 1u << (16u * (digit & 1u)));
        } else {
            atomicAdd(&bins[digit], 1u);
        }
    }
}

fn counted(digit: u32, index: u32) -> u32 {
    if SIDE > 1u {
        let both = atomicLoad(&bins[index / SCAN_LANES * 128u + digit / 2u]);
        return (both >> (16u * (digit & 1u))) & 0xffffu;
    }
    return atomicLoad(&bins[digit]);
}

// The digit of the last wanted key, from the largest down.
fn find_digit(before: Found, shift: u32, index: u32) -> Found {
    workgroupBarrier();
    let team = index / SCAN_LANES;
    let top = 255u - SIDE * (index % SCAN_LANES);
    var own = 0u;
    for (var i = 0u; i < SIDE; i += 1u) {
        own += counted(top - i, index);
    }
    var larger = scan(own, index).before;
    if larger < before.wanted && before.wanted <= larger + own {
        // Of this lane's bins the one in which the number that is wanted is reached.
        for (var i = 0u; i < SIDE; i += 1u) {
            let here = counted(top - i, index);
            if larger < before.wanted && before.wanted <= larger + here {
                found[team] = Found(before.key | ((top - i) << shift), before.wanted - larger);
            }
            larger += here;
        }
    }
    workgroupBarrier();
    return found[team];
}

// Keys above the one found in the low half, keys equal to it in the high half.
fn compared(key: u32, last: Found) -> u32 {
    return u32(key > last.key) + (u32(key == last.key) << 16u);
}
