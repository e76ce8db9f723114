// ROWS rows and BATCH vectors, as loops that the compiler may unroll.
// Siblings: rows_batch_2.wgsl, rows_batch_4.wgsl, rows_batch_8.wgsl, rows_loop.wgsl.

// What a lane needs of one word: its planes in every row.
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
    for (var run = 0u; run < 4u; run += 1u) {
        let x = load_vectors(own.word, run);
        for (var r = 0u; r < ROWS; r += 1u) {
            add_run(r, codes[r], run, x, sums);
        }
    }
}
