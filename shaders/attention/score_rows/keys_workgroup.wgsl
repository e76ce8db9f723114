// Logits by lanes that have a key each; needs no feature. Sibling: keys_subgroup.wgsl.
// Expects: const LANES, ROWS, ROW_PIECES, HEAD_QUADS; all.wgsl or listed.wgsl.

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

fn run(number: u32, lane: Lane) {
    let place = number / params.parts;
    if place >= params.places {
        return;
    }
    begin(lane.index);
    let segment = place_of(place);
    var best: array<u32, ROWS>;
    let step = LANES * params.parts;
    for (var key = number % params.parts * LANES + lane.index; key < segment.len; key += step) {
        let row = row_at(segment, key);
        let codec = key_codec(row);
        var dots: array<f32, ROWS>;
        for (var piece = 0u; piece < ROW_PIECES; piece += 1u) {
            let words = keys[row * ROW_PIECES + piece];
            for (var at = 0u; at < QUADS; at += 1u) {
                let quad = piece * QUADS + at;
                // A row may end with padding.
                if quad < HEAD_QUADS {
                    let k = decode(words, at, codec);
                    for (var r = 0u; r < ROWS; r += 1u) {
                        let q = q_quad(query_row(segment.head, r) * HEAD_QUADS + quad);
                        dots[r] = add_products(dots[r], q, k);
                    }
                }
            }
        }
        for (var r = 0u; r < ROWS; r += 1u) {
            best[r] = max(best[r], store(segment, r, key, logit(dots[r])));
        }
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        tell(r, best[r]);
    }
    finish(segment, lane.index);
}
