// What each token counts, one number a group. Sibling: tokens_alike.wgsl.

// [tokens, groups].
@group(0) @binding(2) var<storage, read> s: array<f32>;

// Of four neighbouring tokens; past the last token anything finite that is there.
fn weights_of(token: u32, group: u32) -> vec4<f32> {
    let tokens = vec4<u32>(token, token + 1u, token + 2u, token + 3u);
    let at = min(tokens, vec4<u32>(params.tokens - 1u)) * params.groups + group;
    return vec4<f32>(s[at.x], s[at.y], s[at.z], s[at.w]);
}
