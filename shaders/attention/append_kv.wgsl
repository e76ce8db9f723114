// New rows of keys, or of values, encoded and written behind those that a cache has.
//
// A squad of 64 lanes makes a row: it holds the row's numbers in workgroup memory, then every lane
// packs words of it. A workgroup has ROWS squads.

// [cache rows, ROW_WORDS].
@group(0) @binding(WORDS) var<storage, read_write> words: array<u32>;

// Bits of f32, [ROWS, DIM].
var<workgroup> numbers: array<u32, ROWS * DIM>;

@compute @workgroup_size(64u * ROWS)
fn append_kv(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let squad = index / 64u;
    let lane = index % 64u;
    let new_row = (group.y * groups.x + group.x) * ROWS + squad;
    let works = new_row < params.rows;
    let token = new_row / params.heads;
    let head = new_row % params.heads;
    let begin = (token * params.input_heads + params.first_head + head) * DIM;
    let base = squad * DIM;
    for (var col = lane; col < DIM; col += 64u) {
        var bits = 0u;
        if works {
            bits = number(begin, token, col);
        }
        numbers[base + col] = bits;
    }
    workgroupBarrier();
    let stored = prepare(base, squad, lane);
    if !works {
        return;
    }
    let place = heads[head];
    let row = place_of(place.x, place.y + step.before + token);
    // Whatever the step says, nothing is written beyond the cache.
    if row >= params.cache_rows {
        return;
    }
    for (var at = lane; at < ROW_WORDS; at += 64u) {
        var word = 0u;
        if at < USED_WORDS {
            for (var i = 0u; i < PER_WORD; i += 1u) {
                word |= code(numbers[base + at * PER_WORD + i], stored) << (i * 32u / PER_WORD);
            }
        }
        words[row * ROW_WORDS + at] = word;
    }
    if lane == 0u {
        put_params(row, stored);
        put_position(row, token);
    }
}
