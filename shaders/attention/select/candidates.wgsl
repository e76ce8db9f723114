// Keys that begin as the one that is looked for: in a list of their block where they have room there,
// otherwise among all of its scores.

@group(0) @binding(7) var<storage, read_write> candidates: array<u32>;
// [blocks][2]: candidates, keys equal to the one found.
@group(0) @binding(8) var<storage, read_write> tallies: array<u32>;

struct Candidate {
    key: u32,
    // Within its block.
    at: u32,
}

// How many have to be looked at.
fn candidates_of(place: Place) -> u32 {
    let tallied = tallies[2u * place.number];
    return select(place.count, tallied, tallied <= params.slots);
}

// Candidate `i`, of a digit known already; among scores others too, with their own keys.
fn candidate(place: Place, block: u32, i: u32, digit: u32) -> Candidate {
    if tallies[2u * place.number] <= params.slots {
        let word = candidates[block * params.slots + i];
        return Candidate((digit << 21u) | (word >> 11u), word & (BLOCK - 1u));
    }
    return Candidate(key_at(place, i, scores[place.scores + i]), i);
}
