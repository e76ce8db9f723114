// Two rows and one vector, written out. Siblings: rows_loop.wgsl, rows_4.wgsl, rows_8.wgsl, rows_batch.wgsl.

// What a lane needs of one word: its planes in every row, and its activations once.
struct Operands {
    x: Activations,
    row0: Planes,
    row1: Planes,
}

fn load_operands(first: u32, last: u32, word: u32) -> Operands {
    return Operands(
        load_activations(word),
        fetch_row(first, last, word),
        fetch_row(first + 1u, last, word),
    );
}

fn accumulate(operands: Operands, sums: ptr<function, array<f32, SUMS>>) {
    (*sums)[0] += word_product(0u, operands.row0, operands.x);
    (*sums)[1] += word_product(1u, operands.row1, operands.x);
}
