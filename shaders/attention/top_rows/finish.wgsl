// The last of three launches, a workgroup a list: rows that are always listed, and of the last bin those that
// are wanted, for which the others make room. Where the bins were no good, the whole list.
// Expects: slices.wgsl, found.wgsl, a part with gather, finish, LAYERS, word_at and put_word.

@group(0) @binding(28) var<storage, read> work: array<u32>;

// Rows that a lane moves at a time.
const MOVED: u32 = 4u;

// Of each row that is wanted how many rows of higher bins are before it: no lower than that of the one before.
var<workgroup> gaps: array<u32, CACHE>;

// How many of the wanted rows are before the row at a place among those of higher bins.
fn shift_of(place: u32, wanted: u32) -> u32 {
    var low = 0u;
    var high = wanted;
    while low < high {
        let middle = (low + high) / 2u;
        if gaps[middle] <= place {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}

// Makes room, from the last row on: no word is overwritten that is still to be moved.
fn make_room(asked: Asked, above: u32, wanted: u32, index: u32) {
    for (var layer = 0u; layer < LAYERS; layer += 1u) {
        for (var left = above; left > 0u; left -= min(left, MOVED * LANES)) {
            let first = max(left, MOVED * LANES) - MOVED * LANES;
            var all: array<u32, MOVED>;
            for (var i = 0u; i < MOVED; i += 1u) {
                let place = min(first + i * LANES + index, above - 1u);
                all[i] = word_at(layer, asked.list, asked.there + place);
            }
            storageBarrier();
            for (var i = 0u; i < MOVED; i += 1u) {
                let place = first + i * LANES + index;
                if place < left {
                    let shift = shift_of(place, wanted);
                    if shift > 0u {
                        put_word(layer, asked.list, asked.there + place + shift, all[i]);
                    }
                }
            }
        }
    }
    // The wanted rows go where others were.
    storageBarrier();
}

// To be called by all lanes; of the candidates, which ascend by their rows, as many as are wanted.
fn put_wanted(beside: Beside, asked: Asked, above: u32, candidates: u32, lane: Lane) -> Beside {
    let index = index_of(lane);
    let wanted = asked.taken - above;
    for (var i = index; i < candidates; i += LANES) {
        cached[i] = work[candidate_at(asked.list, i)];
    }
    workgroupBarrier();
    for (var i = index; i < candidates; i += LANES) {
        let own = cached[i];
        var better = 0u;
        for (var j = 0u; j < candidates; j += 1u) {
            let other = cached[j];
            better += u32(other > own || (other == own && j < i));
        }
        atomicStore(&words[i], u32(better < wanted));
    }
    workgroupBarrier();
    for (var i = index; i < candidates; i += LANES) {
        if atomicLoad(&words[i]) == 1u {
            var before = 0u;
            for (var j = 0u; j < i; j += 1u) {
                before += atomicLoad(&words[j]);
            }
            gaps[before] = work[candidate_at(asked.list, i) + 2u];
            cached[before] = work[candidate_at(asked.list, i) + 1u];
        }
    }
    workgroupBarrier();
    make_room(asked, above, wanted, index);
    var all = beside;
    // Candidates that are not wanted are not listed either.
    for (var i = index; i < candidates; i += LANES) {
        if atomicLoad(&words[i]) == 0u {
            let row = work[candidate_at(asked.list, i) + 1u];
            all = passed(all, asked.list, row / 4u, vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(row % 4u));
        }
    }
    for (var i = index; i < wanted; i += LANES) {
        all = put_row(all, asked, asked.there + gaps[i] + i, cached[i]);
    }
    return all;
}

// To be called by all lanes, with the number of their workgroup.
fn make(list: u32, lane: Lane) {
    if list >= params.lists {
        return;
    }
    let index = index_of(lane);
    let asked = asked_of(list);
    var beside = nothing();
    for (var at = index; at < asked.there; at += LANES) {
        beside = put_row(beside, asked, at, always_row(asked, at));
    }
    if !asked.plain && asked.taken > 0u {
        let header = HEADER * list + 4u;
        if work[header] == 1u {
            beside = gather(beside, list, index);
            beside = put_wanted(beside, asked, work[header + 1u], work[header + 2u], lane);
        } else {
            beside = put_found(beside, asked, lane);
        }
    } else if !asked.plain {
        beside = gather(beside, list, index);
    }
    finish(beside, list, asked.plain, lane);
}
