// Lists of the rows with the highest ranks, a workgroup each: rows that are always listed, then those that
// are found, ascending.
// Expects: top_rows/params.wgsl, tiles/segment.wgsl, a part with tensor_row, one with covered_of, budget_of
// and is_blind, one with begin, listed and finish, top_rows/select.wgsl.

// [lists][capacity] and [lists].
@group(0) @binding(19) var<storage, read_write> lists: array<u32>;
@group(0) @binding(20) var<storage, read_write> counts: array<vec4<u32>>;

// Quads of rows that a lane reads of a tile, and lists: as many as are under way.
const OWN: u32 = AHEAD;

// Nothing is written beyond the list.
fn put(list: u32, at: u32, row: u32) {
    if at < params.capacity {
        lists[list * params.capacity + at] = row;
    }
}

// Four bits as a number.
fn bits_of(which: vec4<bool>) -> u32 {
    let bits = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), which);
    return bits.x | bits.y | bits.z | bits.w;
}

// Which of four rows are above the last key, and in the upper half which have it.
fn found_of(span: Span, cut: Cut, quad: u32, ranks: vec4<f32>) -> u32 {
    let own = within(span, quad);
    let keys = keys_of(ranks);
    let higher = bits_of(own & (keys > vec4<u32>(cut.key)));
    return higher | (bits_of(own & (keys == vec4<u32>(cut.key))) << 16u);
}

@compute @workgroup_size(LANES)
fn top_rows(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let list = group.y * groups.x + group.x;
    if list >= params.lists {
        return;
    }
    let index = index_of(lane);
    let head = head_of(list);
    let segment = segment_of(head);
    let seen = seen_by(list, segment.len);
    let covered = covered_of(head, seen);
    let sinks = min(params.sinks, seen);
    let tail = max(covered, sinks);
    let always = sinks + seen - tail;
    let there = min(always, params.capacity);
    for (var at = index; at < there; at += LANES) {
        put(list, at, select(at - sinks + tail, at, at < sinks));
    }
    let blind = is_blind(head);
    let first = min(sinks, covered);
    let count = covered - first;
    let wanted = select(min(budget_of(head), count), count, blind);
    let taken = min(wanted, params.capacity - there);
    if index == 0u {
        let left_out = always - there + wanted - taken;
        counts[list] = vec4<u32>(there + taken, there, u32(blind), left_out);
    }
    if taken == count || blind {
        for (var i = index; i < taken; i += LANES) {
            put(list, there + i, first + i);
        }
    } else if taken > 0u {
        let span = Span(list, first, covered);
        let cut = cut_of(span, taken, lane);
        let last = last_quad(span);
        // Rows above the last key, and rows that have it, so far.
        var above = 0u;
        var equal = 0u;
        for (var tile = first / 4u; tile <= last; tile += OWN * LANES) {
            let all = ranks_ahead(span, tile + index, last);
            // Before others' words of the last tile, and before bins.
            workgroupBarrier();
            atomicStore(&words[index], found_of(span, cut, tile + index, all.a));
            let second = LANES + index;
            atomicStore(&words[second], found_of(span, cut, tile + second, all.b));
            let third = 2u * LANES + index;
            atomicStore(&words[third], found_of(span, cut, tile + third, all.c));
            let fourth = 3u * LANES + index;
            atomicStore(&words[fourth], found_of(span, cut, tile + fourth, all.d));
            workgroupBarrier();
            let own_words = OWN * index;
            let bits = atomicLoad(&words[own_words])
                | (atomicLoad(&words[own_words + 1u]) << 4u)
                | (atomicLoad(&words[own_words + 2u]) << 8u)
                | (atomicLoad(&words[own_words + 3u]) << 12u);
            let higher = bits & 0xffffu;
            let same = bits >> 16u;
            // At most 16384 of each.
            let sum = scan(countOneBits(higher) | (countOneBits(same) << 16u), lane);
            var own_equal = equal + (sum.before >> 16u);
            var at = there + above + (sum.before & 0xffffu) + min(own_equal, cut.quota);
            above += sum.all & 0xffffu;
            equal += sum.all >> 16u;
            for (var own = higher | same; own != 0u; own &= own - 1u) {
                let place = countTrailingZeros(own);
                let is_equal = ((same >> place) & 1u) != 0u;
                if !is_equal || own_equal < cut.quota {
                    put(list, at, 4u * (tile + OWN * index) + place);
                    at += 1u;
                }
                own_equal += u32(is_equal);
            }
        }
    }
    // Until here a list has rows as its head numbers them: where they lie, and what they weigh, is looked up by
    // all lanes side by side.
    storageBarrier();
    var beside = begin(list, index);
    for (var at = index; at < there + taken; at += LANES) {
        let row = lists[list * params.capacity + at];
        if row < covered {
            beside = listed(beside, list, at, row);
        }
        put(list, at, tensor_row(segment, row));
    }
    finish(beside, list, blind || taken == count, index);
}
