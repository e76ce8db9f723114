// Logits of the rows of a list. Sibling: all.wgsl.

// [lists][stride], rows of the tensors, and how many there are.
@group(0) @binding(19) var<storage, read> lists: array<u32>;
@group(0) @binding(20) var<storage, read> counts: array<vec4<u32>>;
// [lists][ROWS][stride].
@group(0) @binding(27) var<storage, read_write> picked: array<f32>;

// A list, in the place of a KV head.
struct Segment {
    head: u32,
    // Where it begins, and how long it is.
    first: u32,
    len: u32,
}

fn place_of(number: u32) -> Segment {
    return Segment(number, number * params.stride, min(counts[number].x, params.stride));
}

fn query_row(list: u32, row: u32) -> u32 {
    return list * ROWS + row;
}

fn row_at(segment: Segment, key: u32) -> u32 {
    return lists[segment.first + key];
}

fn begin(index: u32) {}

fn store(segment: Segment, row: u32, key: u32, x: f32) -> u32 {
    picked[query_row(segment.head, row) * params.stride + key] = x;
    return 0u;
}

fn tell(row: u32, image: u32) {}

fn finish(segment: Segment, index: u32) {}
