// ROWS rows and BATCH vectors: every weight is decoded once and multiplied BATCH times.
// Siblings: rows_loop.wgsl, rows_2.wgsl, rows_4.wgsl, rows_8.wgsl.

// What a lane needs of one word: its planes in every row. Activations are loaded eight columns at
// a time while they are used: those of all vectors would not fit the registers.
struct Operands {
    word: u32,
    rows: array<Planes, ROWS>,
}

fn load_operands(first: u32, last: u32, word: u32) -> Operands {
    var operands: Operands;
    operands.word = word;
    for (var r = 0u; r < ROWS; r += 1u) {
        operands.rows[r] = fetch_row(first + r, last, word);
    }
    return operands;
}

fn accumulate(operands: Operands, sums: ptr<function, array<f32, SUMS>>) {
    // A parameter cannot be indexed by a variable; a copy can.
    var own = operands;
    var codes: array<Codes, ROWS>;
    for (var r = 0u; r < ROWS; r += 1u) {
        codes[r] = assemble(own.rows[r]);
    }
    var word_sums = array<f32, SUMS>();
    add_run(codes, own.word, 0u, &word_sums);
    add_run(codes, own.word, 1u, &word_sums);
    add_run(codes, own.word, 2u, &word_sums);
    add_run(codes, own.word, 3u, &word_sums);
    for (var s = 0u; s < SUMS; s += 1u) {
        (*sums)[s] += word_sums[s];
    }
}

// Adds the products of one of the word's four runs of eight columns.
fn add_run(
    codes: array<Codes, ROWS>,
    word: u32,
    run: u32,
    sums: ptr<function, array<f32, SUMS>>,
) {
    var own = codes;
    let col = first_col(word) + run * run_distance(word);
    var x: array<Run, BATCH>;
    for (var m = 0u; m < BATCH; m += 1u) {
        let found = activations(m, col);
        x[m] = Run(matched(found.low), matched(found.high));
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        let low = values(r, own[r], 2u * run);
        let high = values(r, own[r], 2u * run + 1u);
        for (var m = 0u; m < BATCH; m += 1u) {
            let s = m * ROWS + r;
            (*sums)[s] = add_products(add_products((*sums)[s], low, x[m].low), high, x[m].high);
        }
    }
}
