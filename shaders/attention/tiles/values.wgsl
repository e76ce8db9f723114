// Weighted sums of values by the lanes that made the weights.
// Expects: tiles/block.wgsl, const VALUE_KEYS, a part with store_o.

// Staged values, [VALUE_KEYS, HEAD_QUADS].
const VALUES_AT: u32 = 512u;

// Weights of 32 keys, [16 teams, 32]; the exclusive or puts teams that read one key into different banks.
fn weight_at(team: u32, key: u32) -> u32 {
    return team * 32u + (key ^ (team % 8u));
}

fn weighted(total: Four, weights: vec4<f32>, value: vec4<f32>) -> Four {
    return Four(
        fma(vec4<f32>(weights.x), value, total.a),
        fma(vec4<f32>(weights.y), value, total.b),
        fma(vec4<f32>(weights.z), value, total.c),
        fma(vec4<f32>(weights.w), value, total.d),
    );
}

fn scaled_four(total: Four, by: vec4<f32>) -> Four {
    return Four(by.x * total.a, by.y * total.b, by.z * total.c, by.w * total.d);
}

fn stage_values(segment: Segment, first_key: u32, last_key: u32, index: u32) {
    for (var unit = index; unit < VALUE_KEYS * ROW_PIECES; unit += LANES) {
        let key = unit / ROW_PIECES;
        // Past the last key there is the last one's again, without weight.
        let row = tensor_row(segment, key_row(segment, min(first_key + key, last_key)));
        let piece = unit % ROW_PIECES;
        let words = values[row * ROW_PIECES + piece];
        let codec = value_codec(row);
        for (var i = 0u; i < QUADS; i += 1u) {
            let quad = piece * QUADS + i;
            // A row may end with padding.
            if quad < HEAD_QUADS {
                pool[VALUES_AT + key * HEAD_QUADS + quad] = decode(words, i, codec);
            }
        }
    }
}

// Writes eight quads of columns of all rows of the tile, neighbouring lanes neighbouring quads. To be
// called by all lanes.
fn store_four(total: Four, segment: Segment, first_row: u32, first_quad: u32, index: u32) {
    let own = index / 8u * 32u + index % 8u;
    pool[own] = total.a;
    pool[own + 8u] = total.b;
    pool[own + 16u] = total.c;
    pool[own + 24u] = total.d;
    workgroupBarrier();
    for (var unit = index; unit < 8u * TILE; unit += LANES) {
        let row = first_row + unit / 8u;
        let quad = first_quad + unit % 8u;
        if row < query_rows() && quad < HEAD_QUADS {
            store_o(query_row(segment.head, row) * HEAD_QUADS + quad, pool[unit]);
        }
    }
    workgroupBarrier();
}
