// The largest of terms some of which may be no numbers: then it is none either. Whether a term is one is
// told from its bits, as compilers may assume that all are.

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn any_nan(x: vec4<f32>) -> bool {
    return any((bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u));
}

// Sticks to what is no number.
fn larger(best: f32, x: f32) -> f32 {
    return select(select(max(best, x), x, is_nan(x)), best, is_nan(best));
}

fn best_of(best: f32, terms: vec4<f32>) -> f32 {
    let most = max(max(terms.x, terms.y), max(terms.z, terms.w));
    // A sum with what is no number is none.
    let sum = (terms.x + terms.y) + (terms.z + terms.w);
    return larger(best, select(most, sum, any_nan(terms)));
}
