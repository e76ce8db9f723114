// Lists of the rows with the highest ranks, a workgroup each: rows that are always listed, then those that
// are found, ascending. Siblings, of several workgroups a list: count.wgsl, list.wgsl and finish.wgsl.
// Expects: asked.wgsl, found.wgsl, a part with finish.

// [lists].
@group(0) @binding(20) var<storage, read_write> counts: array<vec4<u32>>;

// To be called by all lanes, with the number of their workgroup.
fn make(list: u32, lane: Lane) {
    if list >= params.lists {
        return;
    }
    let index = index_of(lane);
    let asked = asked_of(list);
    if index == 0u {
        counts[list] = counts_of(asked);
    }
    var beside = nothing();
    for (var at = index; at < asked.there; at += LANES) {
        beside = put_row(beside, asked, at, always_row(asked, at));
    }
    if asked.plain {
        for (var i = index; i < asked.taken; i += LANES) {
            beside = put_row(beside, asked, asked.there + i, asked.first + i);
        }
    } else if asked.taken > 0u {
        beside = put_found(beside, asked, lane);
    } else {
        beside = pass_all(beside, Span(list, asked.first, asked.covered), index);
    }
    finish(beside, list, asked.plain, lane);
}
