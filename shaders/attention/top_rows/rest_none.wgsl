// Nothing but lists is made. Siblings: rest_mean.wgsl, picked.wgsl.

struct Beside {
    nothing: u32,
}

fn begin(list: u32, index: u32) -> Beside {
    return Beside(0u);
}

fn listed(beside: Beside, list: u32, at: u32, row: u32) -> Beside {
    return beside;
}

// To be called by all lanes; `none` says whether no row is left.
fn finish(beside: Beside, list: u32, none: bool, index: u32) {}
