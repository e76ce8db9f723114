// Y = X W^T + bias for bit-plane weights and any number of vectors.
//
// A workgroup computes ROWS rows of VECTORS vectors, over all columns or one slice of them. In a
// step it takes RUNS neighbouring words of every row. A lane decodes one word of one row, in four
// parts: the word's four runs of eight columns. Neighbouring words hold neighbouring runs, so a
// part of all RUNS words is one stretch of 8 * RUNS columns. What comes next is loaded while the
// staged columns are multiplied. Sums are f32, each added up in the order of the columns' words:
// equal from run to run, and on every device that fuses multiplication and addition.

override WORKGROUP: u32 = 64u;

// One run of a word for one vector; 0 for words at and past `end`, which may be another slice's.
fn run_of_word(vector: u32, word: u32, run: u32, end: u32) -> Run {
    let safe = min(word, params.words - 1u);
    let found = unpack(load_run(vector, first_col(safe) + run * run_distance(safe)));
    let inside = word < end;
    return Run(
        select(vec4<f32>(), matched(found.low), inside),
        select(vec4<f32>(), matched(found.high), inside),
    );
}

@compute @workgroup_size(WORKGROUP)
fn gemm_bitplane(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    let slice = number % params.slices;
    // Tiles of the same rows are neighbours: the second finds the weights in the cache.
    let tiles = (params.batch + VECTORS - 1u) / VECTORS;
    let first = number / params.slices / tiles * ROWS;
    if first >= params.rows {
        return;
    }
    let first_vector = number / params.slices % tiles * VECTORS;
    let start = slice * params.slice_words;
    let end = min(start + params.slice_words, params.words);
    let top = params.piece_row + first;
    let last = params.piece_row + params.rows - 1u;

    // What this lane stages. Rows and vectors past the last take the last one's, which nothing
    // uses.
    let own = lane.index % RUNS;
    let place = lane.index / RUNS;
    let r = row_of_place(place);
    let row_words = min(top + r, last) * params.words;
    let vector = min(first_vector + place, params.batch - 1u);

    var word = start + own;
    var planes_ahead = fetch(row_words + min(word, params.words - 1u));
    var run_ahead: Run;
    if place < VECTORS {
        run_ahead = run_of_word(vector, word, 0u, end);
    }
    load_tables(top, last, lane);
    workgroupBarrier();

    var sums: Sums;
    for (var step = start; step < end; step += RUNS) {
        let codes = assemble(planes_ahead);
        planes_ahead = fetch(row_words + min(word + RUNS, params.words - 1u));
        for (var run = 0u; run < 4u; run += 1u) {
            stage_row(own, place, values(r, codes, 2u * run), values(r, codes, 2u * run + 1u));
            if place < VECTORS {
                stage_vector(own, place, run_ahead.low, run_ahead.high);
            }
            workgroupBarrier();
            if run == 3u {
                word += RUNS;
            }
            if place < VECTORS {
                run_ahead = run_of_word(vector, word, (run + 1u) & 3u, end);
            }
            sums = multiply(sums, lane);
            workgroupBarrier();
        }
    }
    store_sums(sums, lane, slice, first, first_vector);
}
