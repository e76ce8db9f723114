// Eight rows and one vector, written out. Siblings: rows_loop.wgsl, rows_2.wgsl, rows_4.wgsl, rows_batch.wgsl.

// What a lane needs of one word: its planes in every row, and its activations once.
struct Operands {
    x: Activations,
    row0: Planes,
    row1: Planes,
    row2: Planes,
    row3: Planes,
    row4: Planes,
    row5: Planes,
    row6: Planes,
    row7: Planes,
}

fn load_operands(first: u32, last: u32, word: u32) -> Operands {
    return Operands(
        load_activations(word),
        fetch_row(first, last, word),
        fetch_row(first + 1u, last, word),
        fetch_row(first + 2u, last, word),
        fetch_row(first + 3u, last, word),
        fetch_row(first + 4u, last, word),
        fetch_row(first + 5u, last, word),
        fetch_row(first + 6u, last, word),
        fetch_row(first + 7u, last, word),
    );
}

fn accumulate(operands: Operands, sums: ptr<function, array<f32, SUMS>>) {
    (*sums)[0] += word_product(0u, operands.row0, operands.x);
    (*sums)[1] += word_product(1u, operands.row1, operands.x);
    (*sums)[2] += word_product(2u, operands.row2, operands.x);
    (*sums)[3] += word_product(3u, operands.row3, operands.x);
    (*sums)[4] += word_product(4u, operands.row4, operands.x);
    (*sums)[5] += word_product(5u, operands.row5, operands.x);
    (*sums)[6] += word_product(6u, operands.row6, operands.x);
    (*sums)[7] += word_product(7u, operands.row7, operands.x);
}
