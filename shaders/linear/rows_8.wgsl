// Eight rows and one vector, written out. Siblings: rows_loop.wgsl, rows_2.wgsl, rows_4.wgsl, rows_batch_loop.wgsl.

// What a lane needs of one word: its planes in every row, and its activations once.
struct Operands {
    x: LoadedActivations,
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
    let x = unpack_activations(operands.x);
    (*sums)[0] = add_word((*sums)[0], 0u, operands.row0, x);
    (*sums)[1] = add_word((*sums)[1], 1u, operands.row1, x);
    (*sums)[2] = add_word((*sums)[2], 2u, operands.row2, x);
    (*sums)[3] = add_word((*sums)[3], 3u, operands.row3, x);
    (*sums)[4] = add_word((*sums)[4], 4u, operands.row4, x);
    (*sums)[5] = add_word((*sums)[5], 5u, operands.row5, x);
    (*sums)[6] = add_word((*sums)[6], 6u, operands.row6, x);
    (*sums)[7] = add_word((*sums)[7], 7u, operands.row7, x);
}
