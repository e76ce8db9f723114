// Sorted runs of columns. A workgroup sorts up to 2048 elements of a column at a time by a bitonic network
// over their keys and, behind these, their places: no two are equal.
// Expects: sparse/index_map.wgsl, sparse/sorted_words.wgsl, a part with put_order.

struct Params {
    heads: u32,
    dim: u32,
    // Runs of a column that there are workgroups for: each goes on to the next as many further.
    runs: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Pairs of neighbouring rows.
@group(0) @binding(11) var<storage, read> columns: array<u32>;

const LANES: u32 = 256u;
const RUN: u32 = 2048u;
// Behind all others.
const NOTHING: u32 = 0xffffffffu;

var<workgroup> items: array<u32, RUN>;

// To be called by all lanes, `size` a power of two up to RUN.
fn sort(size: u32, index: u32) {
    for (var width = 1u; (1u << width) <= size; width += 1u) {
        for (var bits = width; bits > 0u; bits -= 1u) {
            let step = 1u << (bits - 1u);
            for (var unit = index; unit < size / 2u; unit += LANES) {
                let low = ((unit & ~(step - 1u)) << 1u) | (unit & (step - 1u));
                let a = items[low];
                let b = items[low + step];
                let swap = (a > b) == (((low >> width) & 1u) == 0u);
                items[low] = select(a, b, swap);
                items[low + step] = select(b, a, swap);
            }
            workgroupBarrier();
        }
    }
}

@compute @workgroup_size(LANES)
fn sort_columns(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    let column = number / params.runs;
    if column >= params.heads * params.dim {
        return;
    }
    let place = columns_of(column / params.dim);
    let element = place.first + column % params.dim * place.stride;
    // From an even row on: words are written whole.
    var first = place.from_row + number % params.runs * RUN;
    for (; first < place.rows; first += params.runs * RUN) {
        let count = min(place.rows - first, RUN);
        // The power of two from `count` on, no less than a pair.
        let size = 2u << firstLeadingBit(max(count, 2u) - 1u);
        for (var unit = index; unit < size / 2u; unit += LANES) {
            let at = 2u * unit;
            var pair = vec2<u32>(NOTHING);
            if at < count {
                let word = columns[(element + first + at) / 2u];
                pair.x = (key_of(word & 0xffffu) << 16u) | at;
                if at + 1u < count {
                    pair.y = (key_of(word >> 16u) << 16u) | (at + 1u);
                }
            }
            items[at] = pair.x;
            items[at + 1u] = pair.y;
        }
        workgroupBarrier();
        sort(size, index);
        for (var at = 2u * index; at < count; at += 2u * LANES) {
            let both = at + 1u < count;
            let low = items[at];
            // A zero behind an odd number.
            let high = select(0x80000000u, items[at + 1u], both);
            let to = element + first + at;
            put_sorted(to, low >> 16u, high >> 16u);
            put_order(to, first + (low & 0xffffu), first + (high & 0xffffu), both);
        }
        // Before the next run's items.
        workgroupBarrier();
    }
}
