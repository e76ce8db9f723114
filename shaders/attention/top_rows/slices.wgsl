// Several workgroups a list, a slice of its rows each, and what they leave for each other.
// Expects: bins.wgsl, asked.wgsl; `work`, of u32.

// Words of a list: its bins, then what was found of them.
const HEADER: u32 = 8u;
// Counts of 16 bits in pairs.
const PAIRS: u32 = BINS / 2u;

// What is kept of a row of the last bin: its key, its number, and how many rows of higher bins are before it.
struct Candidate {
    key: u32,
    row: u32,
    place: u32,
}

// A slice's counts.
fn counts_at(list: u32, slice: u32) -> u32 {
    return HEADER * params.lists + (list * params.slices + slice) * PAIRS;
}

fn candidate_at(list: u32, number: u32) -> u32 {
    return counts_at(params.lists, 0u) + 3u * (list * CACHE + number);
}

// Sums of weights of a slice's rows that are not listed, of a query row of the list.
fn part_at(list: u32, slice: u32, query: u32) -> u32 {
    let slices = list * params.slices + slice;
    return candidate_at(params.lists, 0u) + 2u * (slices * QUERIES + query);
}

// The ranked rows of a slice, whole quads but at the ends; perhaps none.
fn slice_of(asked: Asked, slice: u32) -> Span {
    let start = asked.first / 4u;
    let each = ((asked.covered + 3u) / 4u - start + params.slices - 1u) / params.slices;
    let first = 4u * (start + slice * each);
    let end = min(first + 4u * each, asked.covered);
    return Span(asked.list, max(first, asked.first), end);
}
