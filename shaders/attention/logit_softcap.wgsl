// Logits in base 2, `c log2(e) tanh(x / c)`. Sibling: logit.wgsl.
// Expects: alias Logits, f32 or a vector of query rows.
//
// Devices may compute tanh with 11 bits; this is as good as exp2. From 15 on f32 sees no difference to
// 1, and stopping there no infinity comes up.

fn logit(dot: Logits) -> Logits {
    let x = params.inner * dot;
    let magnitude = abs(x);
    let stopped = select(magnitude, Logits(15.0), magnitude > Logits(15.0));
    let power = exp2(2.8853900817779268 * stopped);
    let tanh = (power - 1.0) / (power + 1.0);
    return params.outer * select(tanh, -tanh, x < Logits(0.0));
}
