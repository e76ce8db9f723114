// What is not listed is not weighed. Sibling: rest_mean.wgsl.

// To be called by all lanes; `none` says whether no row is left.
fn finish(beside: Beside, list: u32, none: bool, lane: Lane) {}
