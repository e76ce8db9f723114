// ROWS rows of weights in pairs and one vector, four codes at a time: activations are loaded while
// they are used, since those of a word's 64 columns are many registers.
// Sibling: products_vector.wgsl with rows_2.wgsl, rows_4.wgsl or rows_8.wgsl, which write it out.

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
    // A run of eight codes is one of sixteen columns.
    let col = 2u * first_col(own.word);
    let run = 2u * run_distance(own.word);
    var word_sums = array<f32, SUMS>();
    for (var k = 0u; k < 8u; k += 1u) {
        let x = unpack(load_run(0u, col + k / 2u * run + k % 2u * 8u));
        for (var r = 0u; r < ROWS; r += 1u) {
            let weights = values(r, codes[r], k);
            let low = add_products(word_sums[r], weights.low, x.low);
            word_sums[r] = add_products(low, weights.high, x.high);
        }
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        (*sums)[r] += word_sums[r];
    }
}
