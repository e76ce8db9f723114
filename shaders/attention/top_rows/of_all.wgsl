// Rows are all that a token sees. Sibling: of_index.wgsl.

fn covered_of(head: u32, seen: u32) -> u32 {
    return seen;
}

fn budget_of(head: u32) -> u32 {
    return params.budget;
}

fn is_blind(head: u32) -> bool {
    return false;
}
