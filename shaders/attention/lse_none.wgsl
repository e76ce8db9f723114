// Nobody asked for the sums. Sibling: lse.wgsl.

fn store_lse(at: u32, top: f32, sum: f32) {}
