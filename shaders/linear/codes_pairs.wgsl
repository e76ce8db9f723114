// Codes of 32 weights from 2 planes. Siblings: codes_nibbles.wgsl, codes_bytes.wgsl.

struct Planes {
    q0: u32,
    q1: u32,
}

// Nibble t of `low` holds the codes of weights 2t and 2t + 1, of `high` those of 16 + 2t, 17 + 2t.
struct Codes {
    low: u32,
    high: u32,
}

fn fetch(at: u32) -> Planes {
    return Planes(planes[at], planes[at + params.plane_words]);
}

fn assemble(q: Planes) -> Codes {
    let low = pick(0xaaaaaaaau, q.q0, q.q1);
    let high = rotate_left(pick(0x55555555u, q.q0, q.q1), 1u);
    return Codes(low, high);
}

// Codes of weights 4k .. 4k + 3 of the word.
fn quad(codes: Codes, k: u32) -> vec4<u32> {
    let x = select(codes.low, codes.high, k >= 4u);
    let at = 8u * (k & 3u);
    return vec4<u32>(
        field(x, at + 2u, 3u),
        field(x, at, 3u),
        field(x, at + 6u, 3u),
        field(x, at + 4u, 3u),
    );
}

// Codes of the pairs (4k, 4k + 1) and (4k + 2, 4k + 3) of the word, two codes in one number.
fn pairs(codes: Codes, k: u32) -> vec2<u32> {
    let x = select(codes.low, codes.high, k >= 4u);
    let at = 8u * (k & 3u);
    return vec2<u32>(field(x, at, 15u), field(x, at + 4u, 15u));
}
