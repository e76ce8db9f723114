// Sums as natural logarithms. Sibling: lse_none.wgsl.

// [q_len, H G].
@group(0) @binding(9) var<storage, read_write> lse: array<f32>;

fn store_lse(at: u32, top: f32, sum: f32) {
    let log = (top + log2(select(sum, 1.0, sum == 0.0))) * 0.6931471805599453;
    // What is not a number stays so: some devices' log2 makes a number of it, and some devices' exp2
    // infinity, which no sum of weights is.
    let bits = bitcast<u32>(sum);
    let lost = (bits & 0x7fffffffu) >= 0x7f800000u;
    lse[at] = select(select(log, bitcast<f32>(bits | 0x400000u), lost), NO_KEY, sum == 0.0);
}
