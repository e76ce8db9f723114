// The products of one run of eight columns of a row with BATCH vectors: every weight is decoded
// once and multiplied BATCH times. Sibling: products_f32.wgsl.

// The activations of a run, in the order of `values`. They are loaded while they are used: those
// of a word in all vectors would not fit the registers.
alias Vectors = array<Run, BATCH>;

fn load_vectors(word: u32, run: u32) -> Vectors {
    let col = first_col(word) + run * run_distance(word);
    var x: Vectors;
    for (var m = 0u; m < BATCH; m += 1u) {
        let found = unpack(load_run(m, col));
        x[m] = Run(matched(found.low), matched(found.high));
    }
    return x;
}

// Adds the products of row `r` of the workgroup.
fn add_run(r: u32, codes: Codes, run: u32, x: Vectors, sums: ptr<function, array<f32, SUMS>>) {
    // A parameter cannot be indexed by a variable; a copy can.
    var own = x;
    let low = values(r, codes, 2u * run);
    for (var m = 0u; m < BATCH; m += 1u) {
        let s = m * ROWS + r;
        (*sums)[s] = add_products((*sums)[s], low, own[m].low);
    }
    let high = values(r, codes, 2u * run + 1u);
    for (var m = 0u; m < BATCH; m += 1u) {
        let s = m * ROWS + r;
        (*sums)[s] = add_products((*sums)[s], high, own[m].high);
    }
}
