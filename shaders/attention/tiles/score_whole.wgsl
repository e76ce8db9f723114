// A workgroup has all rows: it writes scores. Sibling: score_part.wgsl.

// From `score_first` on, `score_stride` from head to head.
@group(0) @binding(10) var<storage, read_write> score: array<f32>;

fn put_best(head: u32, slice: u32, key: u32, best: f32) {
    score[params.score_first + head * params.score_stride + key] = score_of(best);
}
