// The product of one word of a row, 32 codes for 64 weights, with its activations, in f32.
// Siblings: products_f32.wgsl, products_f16.wgsl; rows_vector.wgsl does without either.

// The activations of a word's 64 weights.
struct Activations {
    x0: Run,
    x1: Run,
    x2: Run,
    x3: Run,
    x4: Run,
    x5: Run,
    x6: Run,
    x7: Run,
}

struct LoadedActivations {
    x0: Loaded,
    x1: Loaded,
    x2: Loaded,
    x3: Loaded,
    x4: Loaded,
    x5: Loaded,
    x6: Loaded,
    x7: Loaded,
}

// A run of eight codes is one of sixteen columns.
fn load_activations(word: u32) -> LoadedActivations {
    let col = 2u * first_col(word);
    let run = 2u * run_distance(word);
    return LoadedActivations(
        load_run(0u, col),
        load_run(0u, col + 8u),
        load_run(0u, col + run),
        load_run(0u, col + run + 8u),
        load_run(0u, col + 2u * run),
        load_run(0u, col + 2u * run + 8u),
        load_run(0u, col + 3u * run),
        load_run(0u, col + 3u * run + 8u),
    );
}

fn unpack_activations(x: LoadedActivations) -> Activations {
    return Activations(
        unpack(x.x0),
        unpack(x.x1),
        unpack(x.x2),
        unpack(x.x3),
        unpack(x.x4),
        unpack(x.x5),
        unpack(x.x6),
        unpack(x.x7),
    );
}

// Adds the products of codes 4k .. 4k + 3 of the word.
fn add_four(sum: f32, r: u32, codes: Codes, k: u32, x: Run) -> f32 {
    let weights = values(r, codes, k);
    return add_products(add_products(sum, weights.low, x.low), weights.high, x.high);
}

// Adds the product of row `r` of the workgroup.
fn add_word(row_sum: f32, r: u32, planes: Planes, x: Activations) -> f32 {
    let codes = assemble(planes);
    var sum = add_four(row_sum, r, codes, 0u, x.x0);
    sum = add_four(sum, r, codes, 1u, x.x1);
    sum = add_four(sum, r, codes, 2u, x.x2);
    sum = add_four(sum, r, codes, 3u, x.x3);
    sum = add_four(sum, r, codes, 4u, x.x4);
    sum = add_four(sum, r, codes, 5u, x.x5);
    sum = add_four(sum, r, codes, 6u, x.x6);
    return add_four(sum, r, codes, 7u, x.x7);
}
