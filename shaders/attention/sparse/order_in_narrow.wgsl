// Rows of sorted columns as u16 in pairs. Sibling: order_in_wide.wgsl.
// Expects: const ORDER_IN, the number of a binding.

@group(0) @binding(ORDER_IN) var<storage, read> order_in: array<u32>;

fn row_in(element: u32) -> u32 {
    return (order_in[element / 2u] >> (16u * (element & 1u))) & 0xffffu;
}
