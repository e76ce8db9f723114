// The product of one word of a row with its activations, two weights at a time in f16; sums of
// eight products a component are added up in f32. Needs f16 arithmetic and columns that are a
// multiple of 32. Sibling: products_f32.wgsl.

struct Run {
    low: vec4<f16>,
    high: vec4<f16>,
}

@group(0) @binding(4) var<storage, read> x: array<Run>;

// The activations of a word's 32 weights, in the order of the pair table.
struct Activations {
    x0: vec4<f16>,
    x1: vec4<f16>,
    x2: vec4<f16>,
    x3: vec4<f16>,
    x4: vec4<f16>,
    x5: vec4<f16>,
    x6: vec4<f16>,
    x7: vec4<f16>,
}

// Two planes pair neighbours, more pair every other weight.
fn matched(x: vec4<f16>) -> vec4<f16> {
    if BITS == 2u {
        return x;
    }
    return x.zxwy;
}

alias LoadedActivations = Activations;

fn load_activations(word: u32) -> LoadedActivations {
    let at = first_col(word) / 8u;
    let run = run_distance(word) / 8u;
    let a = x[at];
    let b = x[at + run];
    let c = x[at + 2u * run];
    let d = x[at + 3u * run];
    return Activations(
        matched(a.low),
        matched(a.high),
        matched(b.low),
        matched(b.high),
        matched(c.low),
        matched(c.high),
        matched(d.low),
        matched(d.high),
    );
}

// Adds the products of weights 4k .. 4k + 3 to two sums.
fn add_four(sum: vec2<f16>, r: u32, codes: Codes, k: u32, x: vec4<f16>) -> vec2<f16> {
    let at = pairs(codes, k);
    let first = fma(table[r * PAIRS + at.x], x.xy, sum);
    return fma(table[r * PAIRS + at.y], x.zw, first);
}

fn unpack_activations(x: LoadedActivations) -> Activations {
    return x;
}

// Adds the product of row `r` of the workgroup.
fn add_word(row_sum: f32, r: u32, planes: Planes, x: Activations) -> f32 {
    let codes = assemble(planes);
    var low = add_four(vec2<f16>(), r, codes, 0u, x.x0);
    low = add_four(low, r, codes, 1u, x.x1);
    low = add_four(low, r, codes, 2u, x.x2);
    low = add_four(low, r, codes, 3u, x.x3);
    var high = add_four(vec2<f16>(), r, codes, 4u, x.x4);
    high = add_four(high, r, codes, 5u, x.x5);
    high = add_four(high, r, codes, 6u, x.x6);
    high = add_four(high, r, codes, 7u, x.x7);
    return row_sum + ((f32(low.x) + f32(low.y)) + (f32(high.x) + f32(high.y)));
}
