// Pairs of numbers turned by the angles of their position. Sibling: as_given.wgsl.

// [angle rows, HALF]: cosine and sine.
@group(0) @binding(10) var<storage, read> angles: array<vec2<f32>>;

fn number(base: u32, token: u32, col: u32) -> u32 {
    let own = input_bits(base + col);
    if col >= 2u * HALF {
        return own;
    }
    // Neighbours, or numbers that are half of the rotated ones apart.
    let pair = select(col % HALF, col / 2u, INTERLEAVED);
    let second = select(col / HALF, col % 2u, INTERLEAVED) == 1u;
    let apart = select(HALF, 1u, INTERLEAVED);
    let other = bitcast<f32>(input_bits(base + select(col + apart, col - apart, second)));
    let row = min(step.angle_row + token, params.angle_rows - 1u);
    let angle = angles[row * HALF + pair];
    let across = other * angle.y;
    return bitcast<u32>(bitcast<f32>(own) * angle.x + select(-across, across, second));
}
