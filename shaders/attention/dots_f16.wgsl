// Queries and dot products in f16, two numbers at a time; sums of four products a component are added
// up in f32. Sibling: dots_f32.wgsl.
// Expects: a block of query rows, sixteen_halves.wgsl.

// A query row's numbers.
struct Halves {
    a: vec4<f16>,
    b: vec4<f16>,
    c: vec4<f16>,
    d: vec4<f16>,
}

// Rows past the block's are zeros and never used.
struct Queries {
    row_0: Halves,
    row_1: Halves,
    row_2: Halves,
    row_3: Halves,
}

fn load_halves(segment: Segment, row: u32, place: u32) -> Halves {
    if row >= ROWS {
        return Halves();
    }
    let first = query_row(segment.head, row) * HEAD_QUADS;
    var quads: Halves;
    if lane_quad(place, 0u) < HEAD_QUADS {
        quads.a = vec4<f16>(q_quad(first + lane_quad(place, 0u)));
        quads.b = vec4<f16>(q_quad(first + lane_quad(place, 1u)));
    }
    if lane_quad(place, 2u) < HEAD_QUADS {
        quads.c = vec4<f16>(q_quad(first + lane_quad(place, 2u)));
        quads.d = vec4<f16>(q_quad(first + lane_quad(place, 3u)));
    }
    return quads;
}

fn load_queries(segment: Segment, first_row: u32, place: u32) -> Queries {
    var q: Queries;
    q.row_0 = load_halves(segment, first_row, place);
    if BLOCK > 1u {
        q.row_1 = load_halves(segment, first_row + 1u, place);
    }
    if BLOCK > 2u {
        q.row_2 = load_halves(segment, first_row + 2u, place);
        q.row_3 = load_halves(segment, first_row + 3u, place);
    }
    return q;
}

// Rows of f16 have no zeros that it would be needed for.
fn query_sum(q: Queries) -> Rows {
    return Rows(0.0);
}

fn dot_halves(q: Halves, k: Raw) -> f32 {
    let sums = vec4<f32>(fma(q.d, k.d, fma(q.c, k.c, fma(q.b, k.b, q.a * k.a))));
    return (sums.x + sums.y) + (sums.z + sums.w);
}

// The dot products of a lane's numbers.
fn dots(q: Queries, k: Raw, place: u32) -> Rows {
    var sums = vec4<f32>(dot_halves(q.row_0, k), 0.0, 0.0, 0.0);
    if BLOCK > 1u {
        sums.y = dot_halves(q.row_1, k);
    }
    if BLOCK > 2u {
        sums.z = dot_halves(q.row_2, k);
        sums.w = dot_halves(q.row_3, k);
    }
    return block_of(sums);
}
