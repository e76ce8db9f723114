// Sorted columns: numbers in pairs, and the rows of them.
// Expects: const SORTED_OUT, ORDER_OUT: numbers of bindings; a part with put_order.

@group(0) @binding(SORTED_OUT) var<storage, read_write> sorted_out: array<u32>;
@group(0) @binding(ORDER_OUT) var<storage, read_write> order_out: array<u32>;

// Keys of 16 bits that are ordered as finite numbers and infinities are. There is no -0 among them; the one
// that is no number is above all.
fn key_of(half: u32) -> u32 {
    return select(half | 0x8000u, ~half & 0xffffu, (half & 0x8000u) != 0u);
}

fn half_of(key: u32) -> u32 {
    return select(~key & 0xffffu, key & 0x7fffu, (key & 0x8000u) != 0u);
}

// Writes two numbers by their keys, at an even element.
fn put_sorted(at: u32, low: u32, high: u32) {
    sorted_out[at / 2u] = half_of(low) | (half_of(high) << 16u);
}
