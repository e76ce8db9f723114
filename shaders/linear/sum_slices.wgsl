// y = the sum of all slices' products, in their order, + bias.

override WORKGROUP: u32 = 64u;

struct Params {
    rows: u32,
    batch: u32,
    slices: u32,
    // Elements from vector to vector of y and of the partial sums.
    stride: u32,
    // 1 to add the bias.
    bias: u32,
    // A uniform buffer is a multiple of 16 bytes long.
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [slices, batch, stride].
@group(0) @binding(6) var<storage, read> partials: array<f32>;

fn summed(vector: u32, row: u32) -> f32 {
    var sum = 0.0;
    for (var slice = 0u; slice < params.slices; slice += 1u) {
        sum += partials[(slice * params.batch + vector) * params.stride + row];
    }
    return sum + bias_of(row);
}

@compute @workgroup_size(WORKGROUP)
fn sum_slices(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let word = (group.y * groups.x + group.x) * WORKGROUP + index;
    if word < output_words() {
        store(word);
    }
}
