// The rows with the highest ranks of a whole list, by one workgroup.
// Expects: asked.wgsl, cut.wgsl, tile.wgsl.

// Lists them ascending, as their head numbers them, and adds up the others. To be called by all lanes.
fn list_found(beside: Beside, asked: Asked, lane: Lane) -> Beside {
    var passing = beside;
    let index = index_of(lane);
    let span = Span(asked.list, asked.first, asked.covered);
    let cut = cut_of(span, asked.taken, lane);
    let last = last_quad(span);
    // Rows above the last key, and rows that have it, so far.
    var above = 0u;
    var equal = 0u;
    for (var tile = span.first / 4u; tile <= last; tile += OWN * LANES) {
        var all: array<vec4<f32>, OWN>;
        for (var i = 0u; i < OWN; i += 1u) {
            all[i] = ranks_at(span.list, min(tile + i * LANES + index, last));
        }
        // Before others' words of the last tile, and before bins.
        workgroupBarrier();
        for (var i = 0u; i < OWN; i += 1u) {
            let quad = i * LANES + index;
            let there = within(span, tile + quad);
            let keys = keys_of(all[i]);
            tell(quad, there & (keys > vec4<u32>(cut.key)), there & (keys == vec4<u32>(cut.key)));
        }
        let own = own_rows(lane);
        var own_equal = equal + (own.sum.before >> 16u);
        var at = asked.there + above + (own.sum.before & 0xffffu) + min(own_equal, cut.quota);
        above += own.sum.all & 0xffffu;
        equal += own.sum.all >> 16u;
        var elsewhere = own.higher;
        for (var rows = own.higher | own.same; rows != 0u; rows &= rows - 1u) {
            let place = countTrailingZeros(rows);
            let is_equal = ((own.same >> place) & 1u) != 0u;
            if !is_equal || own_equal < cut.quota {
                put(span.list, at, 4u * (tile + OWN * index) + place);
                at += 1u;
                elsewhere |= 1u << place;
            }
            own_equal += u32(is_equal);
        }
        for (var i = 0u; i < OWN; i += 1u) {
            let quad = tile + OWN * index + i;
            passing = passed(passing, span.list, min(quad, last), others(span, quad, i, elsewhere));
        }
    }
    return passing;
}

// The same, and where they lie in the tensors and what is known of them, by all lanes side by side. To be called
// by all lanes.
fn put_found(beside: Beside, asked: Asked, lane: Lane) -> Beside {
    var all = list_found(beside, asked, lane);
    storageBarrier();
    for (var i = index_of(lane); i < asked.taken; i += LANES) {
        let at = asked.there + i;
        all = put_row(all, asked, at, lists[asked.list * params.capacity + at]);
    }
    return all;
}
