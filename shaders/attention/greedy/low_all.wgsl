// Every step takes an element of either side. Siblings: low_cheap.wgsl, low_exact.wgsl.

// Steps on the low side, where `most` are left to take.
fn take_low(most: u32, row: u32, steps: u32, lane: Lane) -> u32 {
    return most;
}
