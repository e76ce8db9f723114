// Where what a list has goes.
// Expects: asked.wgsl, a part with tensor_row, one with listed.

// [lists][capacity].
@group(0) @binding(19) var<storage, read_write> lists: array<u32>;

// Its line of `counts`.
fn counts_of(asked: Asked) -> vec4<u32> {
    let left_out = asked.always - asked.there + asked.wanted - asked.taken;
    return vec4<u32>(asked.there + asked.taken, asked.there, u32(asked.blind), left_out);
}

// Of the rows that always are listed the one at a place.
fn always_row(asked: Asked, at: u32) -> u32 {
    return select(at - asked.sinks + asked.tail, at, at < asked.sinks);
}

// Nothing is written beyond the list.
fn put(list: u32, at: u32, row: u32) {
    if at < params.capacity {
        lists[list * params.capacity + at] = row;
    }
}

// Lists a row where it lies in the tensors, and looks up what is known of it.
fn put_row(beside: Beside, asked: Asked, at: u32, row: u32) -> Beside {
    put(asked.list, at, tensor_row(asked.segment, row));
    if row < asked.covered {
        return listed(beside, asked.list, at, row);
    }
    return beside;
}
