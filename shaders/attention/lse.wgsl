// Sums as natural logarithms. Sibling: lse_none.wgsl.

// [q_len, H G].
@group(0) @binding(9) var<storage, read_write> lse: array<f32>;

fn store_lse(at: u32, top: f32, sum: f32) {
    let log = (top + log2(select(sum, 1.0, sum == 0.0))) * 0.6931471805599453;
    // Sums are not negative; what is not a number stays so, of which some devices' log2 makes one.
    lse[at] = select(select(sum, log, sum >= 0.0), NO_KEY, sum == 0.0);
}
