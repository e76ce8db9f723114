// ROWS rows and one vector, as a loop that the compiler may unroll.
// Siblings: rows_2.wgsl, rows_4.wgsl, rows_8.wgsl, rows_batch_loop.wgsl.

// What a lane needs of one word: its planes in every row, and its activations once.
struct Operands {
    x: LoadedActivations,
    rows: array<Planes, ROWS>,
}

fn load_operands(first: u32, last: u32, word: u32) -> Operands {
    var operands: Operands;
    operands.x = load_activations(word);
    for (var r = 0u; r < ROWS; r += 1u) {
        operands.rows[r] = fetch_row(first + r, last, word);
    }
    return operands;
}

fn accumulate(operands: Operands, sums: ptr<function, array<f32, SUMS>>) {
    // A parameter cannot be indexed by a variable; a copy can.
    var own = operands;
    let x = unpack_activations(own.x);
    for (var r = 0u; r < ROWS; r += 1u) {
        (*sums)[r] = add_word((*sums)[r], r, own.rows[r], x);
    }
}
