// The product of one word of a row with its activations, in f32.
// Sibling: products_f16.wgsl.

// The activations of a word's 32 weights, in the order of `values`.
struct Activations {
    x0: vec4<f32>,
    x1: vec4<f32>,
    x2: vec4<f32>,
    x3: vec4<f32>,
    x4: vec4<f32>,
    x5: vec4<f32>,
    x6: vec4<f32>,
    x7: vec4<f32>,
}

struct LoadedActivations {
    a: Loaded,
    b: Loaded,
    c: Loaded,
    d: Loaded,
}

fn load_activations(word: u32) -> LoadedActivations {
    let col = first_col(word);
    let run = run_distance(word);
    return LoadedActivations(
        load_run(0u, col),
        load_run(0u, col + run),
        load_run(0u, col + 2u * run),
        load_run(0u, col + 3u * run),
    );
}

fn unpack_activations(x: LoadedActivations) -> Activations {
    let a = unpack(x.a);
    let b = unpack(x.b);
    let c = unpack(x.c);
    let d = unpack(x.d);
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

// Adds the product of row `r` of the workgroup.
fn add_word(row_sum: f32, r: u32, planes: Planes, x: Activations) -> f32 {
    let codes = assemble(planes);
    var sum = add_products(row_sum, values(r, codes, 0u), x.x0);
    sum = add_products(sum, values(r, codes, 1u), x.x1);
    sum = add_products(sum, values(r, codes, 2u), x.x2);
    sum = add_products(sum, values(r, codes, 3u), x.x3);
    sum = add_products(sum, values(r, codes, 4u), x.x4);
    sum = add_products(sum, values(r, codes, 5u), x.x5);
    sum = add_products(sum, values(r, codes, 6u), x.x6);
    return add_products(sum, values(r, codes, 7u), x.x7);
}
