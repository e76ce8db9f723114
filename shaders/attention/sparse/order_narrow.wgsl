// Rows of sorted columns as u16 in pairs. Sibling: order_wide.wgsl.

// Writes two rows, at an even element.
fn put_order(at: u32, low: u32, high: u32, both: bool) {
    order_out[at / 2u] = low | select(0u, high << 16u, both);
}
