// Rows without a bit are not seen; rows that the mask does not know are. Sibling: mask_none.wgsl.

fn stays(head: u32, key: u32) -> bool {
    let bit = key - params.mask_first;
    if key < params.mask_first || bit >= params.mask_rows {
        return true;
    }
    let word = schedule[params.masks + head * params.mask_words + bit / 32u];
    return ((word >> (bit % 32u)) & 1u) != 0u;
}
