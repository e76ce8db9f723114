// Queries and dot products in f32. Sibling: dots_f16.wgsl.
// Expects: a block of query rows, sixteen_of_*.wgsl.

alias Queries = Sixteen;

// Four numbers of the queries; those past the end and rows that fill a block up are zeros.
fn load_query_quad(segment: Segment, first_row: u32, quad: u32) -> Quad {
    var q: Quad;
    for (var r = 0u; r < BLOCK; r += 1u) {
        if first_row + r < ROWS && quad < HEAD_QUADS {
            let numbers = q_quad(query_row(segment.head, first_row + r) * HEAD_QUADS + quad);
            let own = is_row(r);
            q.x = select(q.x, Rows(numbers.x), own);
            q.y = select(q.y, Rows(numbers.y), own);
            q.z = select(q.z, Rows(numbers.z), own);
            q.w = select(q.w, Rows(numbers.w), own);
        }
    }
    return q;
}

fn load_queries(segment: Segment, first_row: u32, place: u32) -> Queries {
    return Sixteen(
        load_query_quad(segment, first_row, lane_quad(place, 0u)),
        load_query_quad(segment, first_row, lane_quad(place, 1u)),
        load_query_quad(segment, first_row, lane_quad(place, 2u)),
        load_query_quad(segment, first_row, lane_quad(place, 3u)),
    );
}

fn quad_sum(q: Quad) -> Rows {
    return (q.x + q.y) + (q.z + q.w);
}

// The sum of a lane's numbers.
fn query_sum(q: Queries) -> Rows {
    return (quad_sum(q.a) + quad_sum(q.b)) + (quad_sum(q.c) + quad_sum(q.d));
}

fn dots_quad(q: Quad, k: vec4<f32>, sum: Rows) -> Rows {
    return fma(q.w, Rows(k.w), fma(q.z, Rows(k.z), fma(q.y, Rows(k.y), fma(q.x, Rows(k.x), sum))));
}

// The dot products of a lane's numbers.
fn dots(q: Queries, k: Raw, place: u32) -> Rows {
    let left = dots_quad(q.b, quad_1(k, place), dots_quad(q.a, quad_0(k, place), Rows(0.0)));
    let right = dots_quad(q.d, quad_3(k, place), dots_quad(q.c, quad_2(k, place), Rows(0.0)));
    return left + right;
}
