// A workgroup has some of the rows: their best is put together later. Sibling: score_whole.wgsl.

// Sums perhaps, then [slices, H, chunk].
@group(0) @binding(8) var<storage, read_write> parts: array<f32>;

fn put_best(head: u32, slice: u32, key: u32, best: f32) {
    parts[parts_first() + (slice * params.heads + head) * params.chunk + key] = best;
}
