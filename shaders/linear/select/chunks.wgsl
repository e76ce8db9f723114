// The largest keys of every chunk of 1024 channels, eight chunks side by side: each has a team of 32
// lanes, and a lane the keys of 32 neighbouring channels. The smallest key that is taken is found bit
// by bit, by counting those that are as large. Sibling: whole.wgsl.

const CHUNK: u32 = 1024u;
const TEAMS: u32 = 8u;

// Written out: arrays that loops go through end up in memory.
struct Keys {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
    e: vec4<u32>,
    f: vec4<u32>,
    g: vec4<u32>,
    h: vec4<u32>,
}

// Keys of four channels; of those past the end 0, which is taken only where there is nothing else.
fn four_keys(first: u32, end: u32) -> vec4<u32> {
    var keys = vec4<u32>(0u);
    if first + 4u <= end {
        keys = vec4<u32>(
            key_of(first), key_of(first + 1u), key_of(first + 2u), key_of(first + 3u)
        );
    } else {
        if first < end {
            keys.x = key_of(first);
        }
        if first + 1u < end {
            keys.y = key_of(first + 1u);
        }
        if first + 2u < end {
            keys.z = key_of(first + 2u);
        }
    }
    return keys;
}

fn at_least(keys: vec4<u32>, key: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), vec4<u32>(1u), keys >= vec4<u32>(key));
}

fn count_at_least(keys: Keys, key: u32) -> u32 {
    let low = at_least(keys.a, key) + at_least(keys.b, key) + at_least(keys.c, key)
        + at_least(keys.d, key);
    let high = at_least(keys.e, key) + at_least(keys.f, key) + at_least(keys.g, key)
        + at_least(keys.h, key);
    let all = low + high;
    return all.x + all.y + all.z + all.w;
}

// Where the next channels go.
struct Cursor {
    // The smallest key that is taken, and how many that are equal to it: the first ones.
    last: u32,
    wanted: u32,
    // Keys above it and equal to it, of channels before.
    larger: u32,
    equal: u32,
    slot: u32,
}

fn take(before: Cursor, key: u32, channel: u32) -> Cursor {
    var cursor = before;
    let larger = key > cursor.last;
    let equal = key == cursor.last;
    if larger || (equal && cursor.equal < cursor.wanted) {
        put(cursor.slot + cursor.larger + min(cursor.equal, cursor.wanted), channel);
    }
    cursor.larger += u32(larger);
    cursor.equal += u32(equal);
    return cursor;
}

fn take_four(before: Cursor, keys: vec4<u32>, first: u32) -> Cursor {
    var cursor = take(before, keys.x, first);
    cursor = take(cursor, keys.y, first + 1u);
    cursor = take(cursor, keys.z, first + 2u);
    return take(cursor, keys.w, first + 3u);
}

// Calls `put(slot, channel)` for the channels selected of a batch of chunks, in ascending order of
// slots and channels alike. To be called by all lanes.
fn select_batch(batch: u32, lane: Lane) {
    let chunks = (params.cols + CHUNK - 1u) / CHUNK;
    let first = batch * params.batch_chunks;
    let end = min(chunks, first + params.batch_chunks);
    for (var chunk = first; chunk < end; chunk += TEAMS) {
        select_chunk(chunk + team_of(lane), end, lane);
    }
}

// Teams without a chunk take part without keys and take none.
fn select_chunk(chunk: u32, end: u32, lane: Lane) {
    let channels = select(0u, min(params.cols - chunk * CHUNK, CHUNK), chunk < end);
    let wanted = channels * params.k_chunk / CHUNK;
    let first = chunk * CHUNK + 32u * place_of(lane);
    let last = chunk * CHUNK + channels;
    var keys: Keys;
    keys.a = four_keys(first, last);
    keys.b = four_keys(first + 4u, last);
    keys.c = four_keys(first + 8u, last);
    keys.d = four_keys(first + 12u, last);
    keys.e = four_keys(first + 16u, last);
    keys.f = four_keys(first + 20u, last);
    keys.g = four_keys(first + 24u, last);
    keys.h = four_keys(first + 28u, last);

    // The largest key that is reached by as many as are wanted; all bits where none is.
    var key = 0u;
    for (var bit = 1u << (KEY_BITS - 1u); bit > 0u; bit >>= 1u) {
        let reached = team_sum(count_at_least(keys, key | bit), lane);
        key |= select(0u, bit, reached >= wanted);
    }
    let reached = count_at_least(keys, key);
    let larger = count_at_least(keys, key + 1u);
    // No team has more than 1024 of either.
    let both = (larger << 16u) | (reached - larger);
    let all_larger = team_sum(both, lane) >> 16u;
    let before = team_before(both, lane);
    var cursor: Cursor;
    cursor.last = key;
    cursor.wanted = wanted - all_larger;
    cursor.larger = before >> 16u;
    cursor.equal = before & 0xffffu;
    cursor.slot = chunk * params.k_chunk;
    if wanted > 0u && (larger > 0u || (reached > larger && cursor.equal < cursor.wanted)) {
        cursor = take_four(cursor, keys.a, first);
        cursor = take_four(cursor, keys.b, first + 4u);
        cursor = take_four(cursor, keys.c, first + 8u);
        cursor = take_four(cursor, keys.d, first + 12u);
        cursor = take_four(cursor, keys.e, first + 16u);
        cursor = take_four(cursor, keys.f, first + 20u);
        cursor = take_four(cursor, keys.g, first + 24u);
        cursor = take_four(cursor, keys.h, first + 28u);
    }
}
