// Nothing but lists is made. Siblings: weights.wgsl, picked.wgsl.

struct Beside {
    nothing: u32,
}

fn nothing() -> Beside {
    return Beside(0u);
}

fn listed(beside: Beside, list: u32, at: u32, row: u32) -> Beside {
    return beside;
}

fn passed(beside: Beside, list: u32, quad: u32, which: vec4<bool>) -> Beside {
    return beside;
}
