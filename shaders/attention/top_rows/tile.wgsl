// Rows of a tile, in their order: lanes read quads side by side, and then have rows that follow each other.
// Expects: bins.wgsl.

// A lane's rows of a tile: two bits of each, and how many lower lanes have.
struct Own {
    higher: u32,
    same: u32,
    // Of `higher` in the low half, of `same` in the high one: at most 16384 of each.
    sum: Scan,
}

// Four bits as a number.
fn bits_of(which: vec4<bool>) -> u32 {
    let bits = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), which);
    return bits.x | bits.y | bits.z | bits.w;
}

// What a lane knows of a quad that it read, by the quad's place in the tile.
fn tell(quad: u32, higher: vec4<bool>, same: vec4<bool>) {
    atomicStore(&words[quad], bits_of(higher) | (bits_of(same) << 16u));
}

// To be called by all lanes once all have told.
fn own_rows(lane: Lane) -> Own {
    workgroupBarrier();
    var bits = 0u;
    for (var i = 0u; i < OWN; i += 1u) {
        bits |= atomicLoad(&words[OWN * index_of(lane) + i]) << (4u * i);
    }
    let higher = bits & 0xffffu;
    let same = bits >> 16u;
    return Own(higher, same, scan(countOneBits(higher) | (countOneBits(same) << 16u), lane));
}

// The rows of a lane's quad of a tile that no bit says are elsewhere.
fn others(span: Span, quad: u32, at: u32, elsewhere: u32) -> vec4<bool> {
    let bits = (vec4<u32>(elsewhere) >> (vec4<u32>(4u * at) + vec4<u32>(0u, 1u, 2u, 3u))) & vec4<u32>(1u);
    return within(span, quad) & (bits == vec4<u32>(0u));
}

// What is known of all rows of a span, where none of them is listed. To be called by all lanes.
fn pass_all(beside: Beside, span: Span, index: u32) -> Beside {
    var all = beside;
    if span.first < span.end {
        let last = last_quad(span);
        for (var quad = span.first / 4u + index; quad <= last; quad += LANES) {
            all = passed(all, span.list, quad, within(span, quad));
        }
    }
    return all;
}
