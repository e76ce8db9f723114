// Two launches with scratch memory between them, for the tests of binding.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;
@group(0) @binding(1) var<storage, read> summands: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Four parts of 64 numbers each.
@compute @workgroup_size(64)
fn split(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    partial[64u * group.x + lane] = f32(group.x + 1u) * x[lane];
}

@compute @workgroup_size(64)
fn join(@builtin(local_invocation_index) lane: u32) {
    var sum = bias[lane];
    for (var part = 0u; part < 4u; part += 1u) {
        sum += summands[64u * part + lane];
    }
    y[lane] = sum;
}
