// What is moved when rows make room: lists. Sibling: layers_picked.wgsl.

const LAYERS: u32 = 1u;

fn word_at(layer: u32, list: u32, at: u32) -> u32 {
    return lists[list * params.capacity + at];
}

fn put_word(layer: u32, list: u32, at: u32, word: u32) {
    put(list, at, word);
}
