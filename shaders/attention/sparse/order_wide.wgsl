// Rows of sorted columns as u32. Sibling: order_narrow.wgsl.

// Writes two rows, at an even element.
fn put_order(at: u32, low: u32, high: u32, both: bool) {
    order_out[at] = low;
    if both {
        order_out[at + 1u] = high;
    }
}
