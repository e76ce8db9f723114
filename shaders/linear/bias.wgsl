// The bias of a layer, or none.

@group(0) @binding(3) var<storage, read> bias: array<f32>;

fn bias_of(row: u32) -> f32 {
    if params.bias != 0u {
        return bias[row];
    }
    return 0.0;
}
