// A workgroup makes a list: the rows that are always listed, then those that any of its queries hit, 4096
// rows at a time. Hits are read four neighbouring rows a lane, and listed sixteen.
// Expects: const QUERIES, query rows of a list; list_rows/params.wgsl, tiles/segment.wgsl, a part with
// tensor_row, sparse/index_map.wgsl, lib/scan_workgroup.wgsl.

// [H]: 1 where a head cannot be searched.
@group(0) @binding(15) var<storage, read> flags: array<u32>;
// [T H G]: 1 where nothing could be searched for a query row; three words that do not matter here.
@group(0) @binding(17) var<storage, read> found: array<vec4<u32>>;
// [T H G][most / 4].
@group(0) @binding(18) var<storage, read> hits: array<vec4<i32>>;
// [lists][capacity] and [lists].
@group(0) @binding(19) var<storage, read_write> lists: array<u32>;
@group(0) @binding(20) var<storage, read_write> counts: array<vec4<u32>>;

const LANES: u32 = 256u;
// Quads of rows that a lane reads of a tile, and lists.
const OWN: u32 = 4u;

// Four bits of each quad of a tile.
var<workgroup> quads: array<u32, LANES * OWN>;

// Nothing is written beyond the list.
fn put(list: u32, at: u32, row: u32) {
    if at < params.capacity {
        lists[list * params.capacity + at] = row;
    }
}

// The largest sums that any query of a list has of four quads of rows, LANES apart; past the last quad there
// is that one again. All reads of a lane are under way at once.
struct Largest {
    a: vec4<i32>,
    b: vec4<i32>,
    c: vec4<i32>,
    d: vec4<i32>,
}

fn largest_of(first_query: u32, quad: u32, last: u32) -> Largest {
    let places = min(vec4<u32>(quad) + LANES * vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
    var all: Largest;
    for (var i = 0u; i < QUERIES; i += 1u) {
        let at = (first_query + i) * params.most / 4u + places;
        all.a = max(all.a, hits[at.x]);
        all.b = max(all.b, hits[at.y]);
        all.c = max(all.c, hits[at.z]);
        all.d = max(all.d, hits[at.w]);
    }
    return all;
}

// Which of the four rows from `row` on have a sum above 0; those from `end` on have none.
fn bits_of(largest: vec4<i32>, row: u32, end: u32) -> u32 {
    let bits = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), largest > vec4<i32>(0));
    let left = end - min(row, end);
    let among = select(15u, (1u << left) - 1u, left < 4u);
    return (bits.x | bits.y | bits.z | bits.w) & among;
}

fn run(list: u32, index: u32) {
    if list >= list_count() {
        return;
    }
    let first_query = list * QUERIES;
    let head = head_of(first_query);
    let segment = segment_of(head);
    let seen = seen_by(first_query, segment.len);
    let covered = min(columns_of(head).rows, seen);
    let sinks = min(params.sinks, seen);
    let tail = max(covered, sinks);
    let always = sinks + seen - tail;
    for (var at = index; at < min(always, params.capacity); at += LANES) {
        put(list, at, tensor_row(segment, select(at - sinks + tail, at, at < sinks)));
    }

    var blind = flags[head] != 0u;
    for (var i = 0u; i < QUERIES; i += 1u) {
        blind = blind || found[first_query + i].x != 0u;
    }
    var listed = always;
    // Where all rows are taken there is nothing to look for. The same for all lanes.
    if !blind {
        var candidates = 0u;
        for (var first = 0u; first < covered; first += 4u * OWN * LANES) {
            let largest = largest_of(first_query, first / 4u + index, (covered - 1u) / 4u);
            let row = first + 4u * index;
            quads[index] = bits_of(largest.a, row, covered);
            quads[index + LANES] = bits_of(largest.b, row + 4u * LANES, covered);
            quads[index + 2u * LANES] = bits_of(largest.c, row + 8u * LANES, covered);
            quads[index + 3u * LANES] = bits_of(largest.d, row + 12u * LANES, covered);
            workgroupBarrier();
            var bits = 0u;
            for (var i = 0u; i < OWN; i += 1u) {
                bits |= quads[OWN * index + i] << (4u * i);
            }
            let own = first + 4u * OWN * index;
            let hit = countOneBits(bits);
            // Sinks are listed already.
            if own < sinks {
                let before = sinks - own;
                bits = select((bits >> before) << before, 0u, before >= 4u * OWN);
            }
            // At most 4096 of each.
            let sum = scan((hit << 16u) | countOneBits(bits), index);
            candidates += sum.all >> 16u;
            var at = listed + (sum.before & 0xffffu);
            listed += sum.all & 0xffffu;
            for (; bits != 0u; bits &= bits - 1u) {
                put(list, at, tensor_row(segment, own + countTrailingZeros(bits)));
                at += 1u;
            }
            // Before the next tile's quads.
            workgroupBarrier();
        }
        blind = candidates == 0u;
    }
    if blind {
        listed = always + covered - min(sinks, covered);
        for (var at = always + index; at < min(listed, params.capacity); at += LANES) {
            put(list, at, tensor_row(segment, at - always + sinks));
        }
    }
    if index == 0u {
        let there = min(listed, params.capacity);
        counts[list] =
            vec4<u32>(there, min(always, params.capacity), u32(blind), listed - there);
    }
}
