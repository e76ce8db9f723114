// Rows of sorted columns as u32. Sibling: order_in_narrow.wgsl.
// Expects: const ORDER_IN, the number of a binding.

@group(0) @binding(ORDER_IN) var<storage, read> order_in: array<u32>;

fn row_in(element: u32) -> u32 {
    return order_in[element];
}
