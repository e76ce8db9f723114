// Nothing about listed rows is left for the last launch. Sibling: leave_weights.wgsl.

fn leave(beside: Beside, list: u32, slice: u32, lane: Lane) {}
