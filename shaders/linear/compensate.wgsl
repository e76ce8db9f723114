// y = the residuals of some input channels times their activations.
//
// A workgroup of 256 lanes makes the outputs of `params.slice` segments, stretches of 32 words of a
// channel, one after the other. Its lanes are eight teams of 32: a team takes every eighth channel
// of the list, a lane of it one word, and loads of eight channels are under way at a time. What the
// teams have is added up in their order.

// [cols, stride].
@group(0) @binding(1) var<storage, read> residual: array<u32>;

// [8 teams, BLOCK outputs of a word, 32 words].
var<workgroup> block_sums: array<f32, 256u * BLOCK>;

struct Entry {
    word: u32,
    x: f32,
}

// A channel's word and activation; past the list an activation of 0.
fn entry(slot: u32, end: u32, word: u32) -> Entry {
    var found: Entry;
    if slot < end {
        let channel = channel_of(slot);
        found.word = residual[channel * params.stride + word];
        found.x = x_at(channel);
    }
    return found;
}

fn add(sums: Sums, found: Entry) -> Sums {
    return add_word(sums, found.word, found.x);
}

// The sum over all teams of output `m` of a block and of a word.
fn block_sum(m: u32, word: u32) -> f32 {
    var sum = 0.0;
    for (var team = 0u; team < 8u; team += 1u) {
        sum += block_sums[(team * BLOCK + m) * 32u + word];
    }
    return sum;
}

@compute @workgroup_size(256)
fn compensate(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    vector = group.z;
    let first = (group.y * groups.x + group.x) * params.slice;
    let last = min(first + params.slice, params.segments);
    let index = lane.index;
    let team = index / 32u;
    let place = index % 32u;
    for (var segment = first; segment < last; segment += 1u) {
        let word = 32u * segment + place;
        var sums: Sums;
        for (var start = 0u; start < params.k; start += params.batch_slots) {
            prepare(start, segment == first, lane);
            let end = min(params.k, start + params.batch_slots);
            // Slots belong to teams by their number, wherever a batch begins: batches do not change
            // the order of a sum.
            for (var slot = start + ((team - start) & 7u); slot < end; slot += 64u) {
                let a = entry(slot, end, word);
                let b = entry(slot + 8u, end, word);
                let c = entry(slot + 16u, end, word);
                let d = entry(slot + 24u, end, word);
                let e = entry(slot + 32u, end, word);
                let f = entry(slot + 40u, end, word);
                let g = entry(slot + 48u, end, word);
                let h = entry(slot + 56u, end, word);
                sums = add(add(add(add(sums, a), b), c), d);
                sums = add(add(add(add(sums, e), f), g), h);
            }
        }
        for (var block = 0u; block < PER_WORD / BLOCK; block += 1u) {
            stage(sums, block, team * BLOCK * 32u + place);
            workgroupBarrier();
            if index < 16u * BLOCK {
                let m = index / 32u * 2u;
                let row = (32u * segment + place) * PER_WORD + block * BLOCK + m;
                if row < params.rows {
                    let both = vec2<f32>(block_sum(m, place), block_sum(m + 1u, place));
                    store(row, both * scales_of(row));
                }
            }
            workgroupBarrier();
        }
    }
}
