// What a list is to have.
// Expects: params.wgsl, tiles/segment.wgsl, a part with covered_of, budget_of and is_blind.

struct Asked {
    list: u32,
    segment: Segment,
    // Rows below this have ranks; those above it that are seen are always listed.
    covered: u32,
    // As the first ones are.
    sinks: u32,
    tail: u32,
    // Rows that always are, and as many as there is room for.
    always: u32,
    there: u32,
    // Ranked rows `first .. covered`, how many are looked for, and as many as there is room for.
    first: u32,
    wanted: u32,
    taken: u32,
    // A head that cannot be searched.
    blind: bool,
    // Nothing is left out, or the first ones are taken: no rank matters.
    plain: bool,
}

fn asked_of(list: u32) -> Asked {
    let head = head_of(list);
    let segment = segment_of(head);
    let seen = seen_by(list, segment.len);
    let covered = covered_of(head, seen);
    let sinks = min(params.sinks, seen);
    let tail = max(covered, sinks);
    let always = sinks + seen - tail;
    let there = min(always, params.capacity);
    let blind = is_blind(head);
    let first = min(sinks, covered);
    let count = covered - first;
    let wanted = select(min(budget_of(head), count), count, blind);
    let taken = min(wanted, params.capacity - there);
    let plain = blind || taken == count;
    return Asked(
        list, segment, covered, sinks, tail, always, there, first, wanted, taken, blind, plain
    );
}
