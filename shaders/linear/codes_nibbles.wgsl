// Codes of 32 weights from 3 or 4 planes. Siblings: codes_pairs.wgsl, codes_bytes.wgsl.

struct Planes {
    q0: u32,
    q1: u32,
    q2: u32,
    q3: u32,
}

// The top BITS bits of nibble t: x0 weight 2t, x2 weight 2t + 1, x1 weight 16 + 2t, x3 17 + 2t.
struct Codes {
    x0: u32,
    x1: u32,
    x2: u32,
    x3: u32,
}

fn fetch(at: u32) -> Planes {
    let step = params.plane_words;
    let q2 = planes[at + 2u * step];
    var q3 = q2;
    if BITS >= 4u {
        q3 = planes[at + 3u * step];
    }
    return Planes(planes[at], planes[at + step], q2, q3);
}

fn assemble(q: Planes) -> Codes {
    let o = interleave(q.q0, q.q1, q.q2, q.q3);
    return Codes(o.x, rotate_left(o.y, 1u), rotate_left(o.z, 2u), rotate_left(o.w, 3u));
}

// Codes of weights 4k .. 4k + 3 of the word.
fn quad(codes: Codes, k: u32) -> vec4<u32> {
    let at = 8u * (k & 3u) + 4u - BITS;
    let even = select(codes.x0, codes.x1, k >= 4u);
    let odd = select(codes.x2, codes.x3, k >= 4u);
    return vec4<u32>(
        field(even, at, LEVELS - 1u),
        field(odd, at, LEVELS - 1u),
        field(even, at + 4u, LEVELS - 1u),
        field(odd, at + 4u, LEVELS - 1u),
    );
}

// Codes of the pairs (4k + 2, 4k) and (4k + 3, 4k + 1) of the word, two codes in one number.
fn pairs(codes: Codes, k: u32) -> vec2<u32> {
    var even = select(codes.x0, codes.x1, k >= 4u);
    var odd = select(codes.x2, codes.x3, k >= 4u);
    let levels = LEVELS * LEVELS - 1u;
    if BITS == 3u {
        // Codes of three bits move together, once for the four pairs of a word.
        even = pick(0x38383838u, even >> 2u, even >> 1u);
        odd = pick(0x38383838u, odd >> 2u, odd >> 1u);
    }
    let at = 8u * (k & 3u);
    return vec2<u32>(field(even, at, levels), field(odd, at, levels));
}
