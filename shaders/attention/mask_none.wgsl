// No row is masked. Sibling: mask_bits.wgsl.

fn stays(head: u32, key: u32) -> bool {
    return true;
}
