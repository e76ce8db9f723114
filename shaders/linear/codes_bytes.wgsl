// Codes of 32 weights from 5 to 8 planes. Siblings: codes_pairs.wgsl, codes_nibbles.wgsl.

struct Planes {
    q0: u32,
    q1: u32,
    q2: u32,
    q3: u32,
    q4: u32,
    q5: u32,
    q6: u32,
    q7: u32,
}

// The top BITS bits of byte t: x4, x6, x0, x2 weights 4t .. 4t + 3, x5, x7, x1, x3 weights
// 16 + 4t .. 19 + 4t.
struct Codes {
    x0: u32,
    x1: u32,
    x2: u32,
    x3: u32,
    x4: u32,
    x5: u32,
    x6: u32,
    x7: u32,
}

// A plane that BITS leaves out repeats the one before it: its bits are shifted away.
fn fetch(at: u32) -> Planes {
    let step = params.plane_words;
    let q4 = planes[at + 4u * step];
    var q5 = q4;
    if BITS >= 6u {
        q5 = planes[at + 5u * step];
    }
    var q6 = q5;
    if BITS >= 7u {
        q6 = planes[at + 6u * step];
    }
    var q7 = q6;
    if BITS >= 8u {
        q7 = planes[at + 7u * step];
    }
    return Planes(
        planes[at],
        planes[at + step],
        planes[at + 2u * step],
        planes[at + 3u * step],
        q4,
        q5,
        q6,
        q7,
    );
}

fn assemble(q: Planes) -> Codes {
    let o = interleave(q.q0, q.q1, q.q2, q.q3);
    let e = interleave(q.q4, q.q5, q.q6, q.q7);
    return Codes(
        pick(0xf0f0f0f0u, o.x, e.x),
        rotate_left(pick(0x78787878u, o.y, e.y), 1u),
        rotate_left(pick(0x3c3c3c3cu, o.z, e.z), 2u),
        rotate_left(pick(0x1e1e1e1eu, o.w, e.w), 3u),
        rotate_left(pick(0x0f0f0f0fu, o.x, e.x), 4u),
        rotate_left(pick(0x87878787u, o.y, e.y), 5u),
        rotate_left(pick(0xc3c3c3c3u, o.z, e.z), 6u),
        rotate_left(pick(0xe1e1e1e1u, o.w, e.w), 7u),
    );
}

// Codes of weights 4k .. 4k + 3 of the word.
fn quad(codes: Codes, k: u32) -> vec4<u32> {
    let at = 8u * (k & 3u) + 8u - BITS;
    let low = vec4<u32>(codes.x4, codes.x6, codes.x0, codes.x2);
    let high = vec4<u32>(codes.x5, codes.x7, codes.x1, codes.x3);
    let x = select(low, high, k >= 4u);
    return vec4<u32>(
        field(x.x, at, LEVELS - 1u),
        field(x.y, at, LEVELS - 1u),
        field(x.z, at, LEVELS - 1u),
        field(x.w, at, LEVELS - 1u),
    );
}
