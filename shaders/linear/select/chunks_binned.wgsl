// The largest keys of every chunk of 1024 channels, chunk after chunk, by histograms: quickest where a
// workgroup has one chunk. A lane of 256 holds the keys of four neighbouring channels.
// Siblings: chunks_counted.wgsl, whole.wgsl.

const CHUNK: u32 = 1024u;

// Calls `put(slot, channel)` for the channels selected of a batch of chunks, in ascending order of
// slots and channels alike. To be called by all lanes.
fn select_batch(batch: u32, lane: Lane) {
    let chunks = (params.cols + CHUNK - 1u) / CHUNK;
    let first = batch * params.batch_chunks;
    let end = min(chunks, first + params.batch_chunks);
    for (var chunk = first; chunk < end; chunk += 1u) {
        select_chunk(chunk, lane.index);
    }
}

fn select_chunk(chunk: u32, index: u32) {
    let channels = min(params.cols - chunk * CHUNK, CHUNK);
    let take = channels * params.k_chunk / CHUNK;
    if take == 0u {
        return;
    }
    let own = chunk * CHUNK + 4u * index;
    let count = min(max(channels, 4u * index) - 4u * index, 4u);
    var keys: array<u32, 4>;
    for (var i = 0u; i < count; i += 1u) {
        keys[i] = long_key(own + i);
    }

    var last = Found(0u, take);
    for (var digit = 0u; digit < DIGITS; digit += 1u) {
        let shift = 24u - 8u * digit;
        clear_bins(index);
        for (var i = 0u; i < count; i += 1u) {
            count_key(keys[i], last.key, shift);
        }
        last = find_digit(last, shift, index);
    }

    // Of equal keys the first are taken.
    var both = 0u;
    for (var i = 0u; i < count; i += 1u) {
        both += compared(keys[i], last);
    }
    both = scan(both, index).before;
    var larger = both & 0xffffu;
    var equal = both >> 16u;
    for (var i = 0u; i < count; i += 1u) {
        let key = keys[i];
        if key > last.key || (key == last.key && equal < last.wanted) {
            put(chunk * params.k_chunk + larger + min(equal, last.wanted), own + i);
        }
        larger += u32(key > last.key);
        equal += u32(key == last.key);
    }
}
