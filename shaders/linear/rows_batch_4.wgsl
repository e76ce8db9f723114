// Four rows and BATCH vectors, rows written out.
// Siblings: rows_batch_2.wgsl, rows_batch_8.wgsl, rows_batch_loop.wgsl.

// What a lane needs of one word: its planes in every row.
struct Operands {
    word: u32,
    row0: Planes,
    row1: Planes,
    row2: Planes,
    row3: Planes,
}

struct RowCodes {
    row0: Codes,
    row1: Codes,
    row2: Codes,
    row3: Codes,
}

fn load_operands(first: u32, last: u32, word: u32) -> Operands {
    return Operands(
        word,
        fetch_row(first, last, word),
        fetch_row(first + 1u, last, word),
        fetch_row(first + 2u, last, word),
        fetch_row(first + 3u, last, word),
    );
}

fn accumulate(operands: Operands, sums: ptr<function, array<f32, SUMS>>) {
    let codes = RowCodes(
        assemble(operands.row0),
        assemble(operands.row1),
        assemble(operands.row2),
        assemble(operands.row3),
    );
    add_rows(codes, operands.word, 0u, sums);
    add_rows(codes, operands.word, 1u, sums);
    add_rows(codes, operands.word, 2u, sums);
    add_rows(codes, operands.word, 3u, sums);
}

fn add_rows(codes: RowCodes, word: u32, run: u32, sums: ptr<function, array<f32, SUMS>>) {
    let x = load_vectors(word, run);
    add_run(0u, codes.row0, run, x, sums);
    add_run(1u, codes.row1, run, x, sums);
    add_run(2u, codes.row2, run, x, sums);
    add_run(3u, codes.row3, run, x, sums);
}
