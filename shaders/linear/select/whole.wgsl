// The largest keys of all channels, wherever they are. Keys are made anew for every digit: there are
// more than a workgroup holds. Siblings: chunks_binned.wgsl,
// chunks_counted.wgsl.

const CHUNK: u32 = 1024u;

// Calls `put(slot, channel)` for every channel selected, in ascending order of slots and channels
// alike, whatever the batch. To be called by all lanes.
fn select_batch(batch: u32, lane: Lane) {
    let index = lane.index;
    var last = Found(0u, params.k);
    for (var digit = 0u; digit < DIGITS; digit += 1u) {
        let shift = 24u - 8u * digit;
        clear_bins(index);
        for (var channel = index; channel < params.cols; channel += 256u) {
            count_key(long_key(channel), last.key, shift);
        }
        last = find_digit(last, shift, index);
    }

    // Of equal keys the first are taken.
    var larger_before = 0u;
    var equal_before = 0u;
    for (var first = 0u; first < params.cols; first += CHUNK) {
        let own = first + 4u * index;
        let count = min(max(params.cols, own) - own, 4u);
        var keys: array<u32, 4>;
        var both = 0u;
        for (var i = 0u; i < count; i += 1u) {
            keys[i] = long_key(own + i);
            both += compared(keys[i], last);
        }
        let sums = scan(both, index);
        var larger = larger_before + (sums.before & 0xffffu);
        var equal = equal_before + (sums.before >> 16u);
        for (var i = 0u; i < count; i += 1u) {
            let key = keys[i];
            if key > last.key || (key == last.key && equal < last.wanted) {
                put(larger + min(equal, last.wanted), own + i);
            }
            larger += u32(key > last.key);
            equal += u32(key == last.key);
        }
        larger_before += sums.all & 0xffffu;
        equal_before += sums.all >> 16u;
    }
}
