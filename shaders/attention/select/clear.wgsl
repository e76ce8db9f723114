// Histograms, sums and the report begin as zeros.

@group(0) @binding(5) var<storage, read_write> report: array<u32>;
@group(0) @binding(6) var<storage, read_write> work: array<u32>;

fn run(group: u32, lane: Lane) {
    let at = 256u * group + index_of(lane);
    if at < params.cleared {
        work[at] = 0u;
    }
    if at < report_kept(params.rows) {
        report[at] = 0u;
    }
}
