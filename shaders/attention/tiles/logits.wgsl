// Logits in base 2 of a block's products.
// Expects: tiles/block.wgsl or tiles/matrix.wgsl, a logit*.wgsl.

fn logits(dots: Block) -> Block {
    return Block(
        logit(dots.a), logit(dots.b), logit(dots.c), logit(dots.d),
        logit(dots.e), logit(dots.f), logit(dots.g), logit(dots.h),
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
