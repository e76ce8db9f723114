// Logits of all rows of a KV head, and the largest of each query row. Sibling: listed.wgsl.
// Expects: tiles/segment.wgsl, a part with tensor_row.

// [T H G][stride].
@group(0) @binding(21) var<storage, read_write> scores: array<f32>;
// [T H G], 0 beforehand.
@group(0) @binding(22) var<storage, read_write> tops: array<atomic<u32>>;

var<workgroup> row_tops: array<atomic<u32>, ROWS>;

fn place_of(number: u32) -> Segment {
    return segment_of(number);
}

// Query row `row = token group + g` of a KV head, among [T, H G].
fn query_row(head: u32, row: u32) -> u32 {
    return (row / params.group * params.heads + head) * params.group + row % params.group;
}

fn row_at(segment: Segment, key: u32) -> u32 {
    return tensor_row(segment, key);
}

// How many keys a query row sees.
fn seen_by(segment: Segment, row: u32) -> u32 {
    if params.causal == 0u {
        return segment.len;
    }
    return max(segment.len + row / params.group + 1u, params.tokens) - params.tokens;
}

// To be called by all lanes.
fn begin(index: u32) {
    if index < ROWS {
        atomicStore(&row_tops[index], 0u);
    }
    workgroupBarrier();
}

// What is not seen has no weight.
fn store(segment: Segment, row: u32, key: u32, x: f32) -> u32 {
    let sees = key < seen_by(segment, row);
    scores[query_row(segment.head, row) * params.stride + key] = select(NO_KEY, x, sees);
    return select(0u, image_of(x), sees);
}

fn tell(row: u32, image: u32) {
    if image > 0u {
        atomicMax(&row_tops[row], image);
    }
}

// To be called by all lanes.
fn finish(segment: Segment, index: u32) {
    workgroupBarrier();
    if index < ROWS {
        let image = atomicLoad(&row_tops[index]);
        if image > 0u {
            atomicMax(&tops[query_row(segment.head, index)], image);
        }
    }
}
