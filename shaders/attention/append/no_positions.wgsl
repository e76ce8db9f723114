// Nobody asks for positions. Sibling: positions.wgsl.

fn put_position(row: u32, token: u32) {
}
