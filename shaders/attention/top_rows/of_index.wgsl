// Rows are those of an index, which says how many are looked for. Sibling: of_all.wgsl.
// Expects: sparse/index_map.wgsl.

// [H]: 1 where a head cannot be searched.
@group(0) @binding(15) var<storage, read> flags: array<u32>;

fn covered_of(head: u32, seen: u32) -> u32 {
    return min(columns_of(head).rows, seen);
}

fn budget_of(head: u32) -> u32 {
    return columns_of(head).budget;
}

fn is_blind(head: u32) -> bool {
    return flags[head] != 0u;
}
