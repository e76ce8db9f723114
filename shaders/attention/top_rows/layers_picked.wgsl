// What is moved when rows make room: lists, and scores of listed rows. Sibling: layers_lists.wgsl.
// Expects: picked.wgsl.

const LAYERS: u32 = 1u + QUERIES;

fn picked_at(layer: u32, list: u32, at: u32) -> u32 {
    return (list * QUERIES + layer - 1u) * params.capacity + at;
}

fn word_at(layer: u32, list: u32, at: u32) -> u32 {
    if layer == 0u {
        return lists[list * params.capacity + at];
    }
    return bitcast<u32>(picked[picked_at(layer, list, at)]);
}

fn put_word(layer: u32, list: u32, at: u32, word: u32) {
    if layer == 0u {
        put(list, at, word);
    } else if at < params.capacity {
        picked[picked_at(layer, list, at)] = bitcast<f32>(word);
    }
}
