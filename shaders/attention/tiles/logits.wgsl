// Logits in base 2 of a block's products, and which of them rows see.
// Expects: tiles/block.wgsl, a logit*.wgsl.

fn logits(dots: Block) -> Block {
    return Block(
        logit(dots.a), logit(dots.b), logit(dots.c), logit(dots.d),
        logit(dots.e), logit(dots.f), logit(dots.g), logit(dots.h),
    );
}

// Keys `start .. end` of each of four rows.
struct Seen {
    start: vec4<u32>,
    end: vec4<u32>,
}

fn masked(x: vec4<f32>, key: u32, seen: Seen) -> vec4<f32> {
    let sees = (vec4<u32>(key) >= seen.start) & (vec4<u32>(key) < seen.end);
    return select(vec4<f32>(NO_KEY), x, sees);
}

// `key` is the block's first.
fn masked_block(x: Block, key: u32, seen: Seen) -> Block {
    return Block(
        masked(x.a, key, seen),
        masked(x.b, key + 8u, seen),
        masked(x.c, key + 16u, seen),
        masked(x.d, key + 24u, seen),
        masked(x.e, key + 32u, seen),
        masked(x.f, key + 40u, seen),
        masked(x.g, key + 48u, seen),
        masked(x.h, key + 56u, seen),
    );
}

fn largest(x: Block) -> vec4<f32> {
    return max(max(max(x.a, x.b), max(x.c, x.d)), max(max(x.e, x.f), max(x.g, x.h)));
}

// What powers are taken above: a row that has seen no key has no largest one.
fn base_of(top: vec4<f32>) -> vec4<f32> {
    return select(top, vec4<f32>(0.0), top <= vec4<f32>(NO_KEY));
}

// A sum of powers, each 1 at most: where it is beyond all bounds, the power of what was no number has been
// made an infinity, as some devices do. Then it is no number.
fn sum_of_powers(sum: vec4<f32>) -> vec4<f32> {
    return select(sum, sum - sum, sum > vec4<f32>(1e30));
}
