// The largest keys of every chunk of 1024 channels, eight chunks side by side: quickest where a workgroup
// has several. Each chunk has a team of 32 lanes, and a lane the keys of 32 neighbouring channels.
// Siblings: chunks_binned.wgsl, whole.wgsl.
//
// The smallest key that is taken is found bit by bit, by counting the keys that reach it. Where few are
// wanted and keys are short, only the largest key of each lane is counted first: what reaches the
// smallest of those that are wanted is little more than what is taken, and each of it is ranked among
// the others.

const CHUNK: u32 = 1024u;
const TEAMS: u32 = 8u;

// Keys that a team ranks, at most: two a lane.
const FEW: u32 = 64u;
// Few enough that lanes' largest keys mostly leave no more.
const FEW_WANTED: u32 = 24u;
// Bits of a channel's place in its chunk; short keys have room for it in their word.
const PLACE_BITS: u32 = 10u;
const SHORT_KEYS: bool = KEY_BITS + PLACE_BITS < 32u && KEY_BITS > PLACE_BITS;

// Keys and, so that the first of equal ones is the largest, places counted from the end.
var<workgroup> few: array<u32, TEAMS * FEW>;
var<workgroup> too_many: atomic<u32>;
var<workgroup> overflow: u32;

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

// By number, without an array.
fn quad(keys: Keys, number: u32) -> vec4<u32> {
    let ab = select(keys.a, keys.b, number == 1u);
    let cd = select(keys.c, keys.d, number == 3u);
    let ef = select(keys.e, keys.f, number == 5u);
    let gh = select(keys.g, keys.h, number == 7u);
    return select(select(ab, cd, number >= 2u), select(ef, gh, number >= 6u), number >= 4u);
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

// The smallest key that as many reach as are wanted, of the largest key of each lane.
fn lanes_key(largest: u32, wanted: u32, lane: Lane) -> u32 {
    var key = 0u;
    for (var bit = 1u << (KEY_BITS - 1u); bit > 0u; bit >>= 1u) {
        let reached = team_count(largest >= (key | bit), lane);
        key |= select(0u, bit, reached >= wanted);
    }
    return key;
}

fn largest_of(keys: Keys) -> u32 {
    let low = max(max(keys.a, keys.b), max(keys.c, keys.d));
    let high = max(max(keys.e, keys.f), max(keys.g, keys.h));
    let all = max(low, high);
    return max(max(all.x, all.y), max(all.z, all.w));
}

// Writes down the keys of a lane that reach another, from a place of the team's list.
fn note(at: u32, key: u32, least: u32, place: u32) -> u32 {
    if key < least {
        return at;
    }
    few[at] = (key << PLACE_BITS) | (CHUNK - 1u - place);
    return at + 1u;
}

fn note_four(start: u32, keys: vec4<u32>, least: u32, place: u32) -> u32 {
    var at = note(start, keys.x, least, place);
    at = note(at, keys.y, least, place + 1u);
    at = note(at, keys.z, least, place + 2u);
    return note(at, keys.w, least, place + 3u);
}

// Takes by rank among few. To be called by all lanes; tells all of them alike whether it did, which it
// does not where one team finds too many.
fn take_few(keys: Keys, chunk: u32, wanted: u32, lane: Lane) -> bool {
    let least = lanes_key(largest_of(keys), max(wanted, 1u), lane);
    let own = select(0u, count_at_least(keys, least), wanted > 0u);
    let count = team_sum(own, lane);
    let before = team_before(own, lane);
    if lane.index == 0u {
        atomicStore(&too_many, 0u);
    }
    workgroupBarrier();
    if count > FEW {
        atomicStore(&too_many, 1u);
    }
    let list = team_of(lane) * FEW;
    let place = 32u * place_of(lane);
    if own > 0u && count <= FEW {
        var at = list + before;
        for (var i = 0u; i < 8u; i += 1u) {
            at = note_four(at, quad(keys, i), least, place + 4u * i);
        }
    }
    workgroupBarrier();
    if lane.index == 0u {
        overflow = atomicLoad(&too_many);
    }
    if workgroupUniformLoad(&overflow) != 0u {
        return false;
    }
    // Each lane ranks two neighbours of the list, which is in the order of channels.
    let first = 2u * place_of(lane);
    let there = vec2<bool>(first < count, first + 1u < count);
    let pair = select(vec2<u32>(0u), vec2<u32>(few[list + first], few[list + first + 1u]), there);
    var ranks = vec2<u32>(0u);
    for (var i = 0u; i < count; i += 1u) {
        ranks += select(vec2<u32>(0u), vec2<u32>(1u), vec2<u32>(few[list + i]) > pair);
    }
    let taken = select(vec2<u32>(0u), vec2<u32>(1u), there & (ranks < vec2<u32>(wanted)));
    let slot = chunk * params.k_chunk + team_before(taken.x + taken.y, lane);
    let last = chunk * CHUNK + CHUNK - 1u;
    if taken.x > 0u {
        put(slot, last - (pair.x & (CHUNK - 1u)));
    }
    if taken.y > 0u {
        put(slot + taken.x, last - (pair.y & (CHUNK - 1u)));
    }
    return true;
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

    if SHORT_KEYS && params.k_chunk <= FEW_WANTED {
        if take_few(keys, chunk, wanted, lane) {
            return;
        }
    }
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
        for (var i = 0u; i < 8u; i += 1u) {
            cursor = take_four(cursor, quad(keys, i), first + 4u * i);
        }
    }
}
