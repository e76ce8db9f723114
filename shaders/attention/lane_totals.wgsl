// What a lane has of a block of query rows for its sixteen numbers of a row.
// Expects: a block of query rows, a part with Raw and quad_0 to quad_3.

// A value for each query row of the block, of each of four numbers.
struct Quad {
    x: Rows,
    y: Rows,
    z: Rows,
    w: Rows,
}

// The same of all numbers of a lane.
struct Sixteen {
    a: Quad,
    b: Quad,
    c: Quad,
    d: Quad,
}

fn add_quad(o: Quad, weight: Rows, v: vec4<f32>) -> Quad {
    return Quad(
        fma(weight, Rows(v.x), o.x),
        fma(weight, Rows(v.y), o.y),
        fma(weight, Rows(v.z), o.z),
        fma(weight, Rows(v.w), o.w),
    );
}

fn add_weighted(o: Sixteen, weight: Rows, v: Raw, place: u32) -> Sixteen {
    return Sixteen(
        add_quad(o.a, weight, quad_0(v, place)),
        add_quad(o.b, weight, quad_1(v, place)),
        add_quad(o.c, weight, quad_2(v, place)),
        add_quad(o.d, weight, quad_3(v, place)),
    );
}

fn scaled_quad(o: Quad, by: Rows, plus: Rows) -> Quad {
    return Quad(fma(o.x, by, plus), fma(o.y, by, plus), fma(o.z, by, plus), fma(o.w, by, plus));
}

fn scaled(o: Sixteen, by: Rows, plus: Rows) -> Sixteen {
    return Sixteen(
        scaled_quad(o.a, by, plus),
        scaled_quad(o.b, by, plus),
        scaled_quad(o.c, by, plus),
        scaled_quad(o.d, by, plus),
    );
}

fn sixteenth(o: Sixteen, at: u32) -> Quad {
    switch at {
        case 0u: {
            return o.a;
        }
        case 1u: {
            return o.b;
        }
        case 2u: {
            return o.c;
        }
        default: {
            return o.d;
        }
    }
}
