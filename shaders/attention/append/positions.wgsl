// Rows have their positions beside them. Sibling: no_positions.wgsl.

// [cache rows].
@group(0) @binding(11) var<storage, read_write> positions: array<u32>;

fn put_position(row: u32, token: u32) {
    positions[row] = step.position + token;
}
