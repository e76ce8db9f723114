// Logits in base 2. Sibling: logit_softcap.wgsl.
// Expects: alias Logits, f32 or a vector of query rows.

fn logit(dot: Logits) -> Logits {
    return params.outer * dot;
}
