// What selecting and compensating are told.

struct Params {
    // Outputs of the layer.
    rows: u32,
    // Input channels.
    cols: u32,
    // Channels taken of all, and of a whole chunk.
    k: u32,
    k_chunk: u32,
    // Chunks that are selected from together, and the slots of the list that theirs take.
    batch_chunks: u32,
    batch_slots: u32,
    // Words from channel to channel of the residual.
    stride: u32,
    // Segments of a channel, 32 words each.
    segments: u32,
    // Segments of a workgroup.
    slice: u32,
    // Batches of chunks.
    batches: u32,
    // Elements from vector to vector of the activations, and of what is compensated.
    x_stride: u32,
    y_stride: u32,
    // Lower bounds of 32 buckets, as bits of f32.
    bounds: array<vec4<u32>, 8>,
}

@group(0) @binding(0) var<uniform> params: Params;

// Which of the vectors the workgroup works for.
var<private> vector: u32;
