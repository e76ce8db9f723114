// H_k += X^T diag(s_k) X, the upper triangles, for some tokens and every group k.
//
// A workgroup adds to one tile of ROWS x ROWS sums: `row` and `column` of the tile are those of
// the matrix's tiles, on the diagonal or above. Tokens are taken 8 * RUNS at a time: a lane stages
// one run of eight tokens of one input for the tile's columns, and one, weighted, for its rows.
// Neighbouring lanes load neighbouring inputs. What comes next is loaded while the staged tokens
// are multiplied. Every sum is added up in the order of the tokens: equal from run to run.

override WORKGROUP: u32 = 128u;

struct Params {
    inputs: u32,
    groups: u32,
    tokens: u32,
    // Tiles in the first row of a matrix.
    across: u32,
    // The first tile of this launch, counted over the tiles of all groups, and how many follow.
    first: u32,
    tiles: u32,
    // A uniform buffer is a multiple of 16 bytes long.
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

struct Run {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Four tokens of one input; 0 past the last token or input. Clamped and selected: with branches
// one driver needs gigabytes to compile kernels of this kind.
fn four_tokens(token: u32, input: u32) -> vec4<f32> {
    let tokens = vec4<u32>(token, token + 1u, token + 2u, token + 3u);
    let safe = min(tokens, vec4<u32>(params.tokens - 1u)) * params.inputs
        + min(input, params.inputs - 1u);
    let values = vec4<f32>(x_at(safe.x), x_at(safe.y), x_at(safe.z), x_at(safe.w));
    let inside = tokens < vec4<u32>(params.tokens);
    return select(vec4<f32>(), values, inside & vec4<bool>(input < params.inputs));
}

fn load_run(token: u32, input: u32) -> Run {
    return Run(four_tokens(token, input), four_tokens(token + 4u, input));
}

fn load_weighted(token: u32, input: u32, group: u32) -> Run {
    let found = load_run(token, input);
    return Run(
        found.low * weights_of(token, group),
        found.high * weights_of(token + 4u, group),
    );
}

@compute @workgroup_size(WORKGROUP)
fn hessian_update(
    lane: Lane,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.y * groups.x + group.x;
    if number >= params.tiles {
        return;
    }
    // Row r of a matrix has `across - r` tiles.
    let each = params.across * (params.across + 1u) / 2u;
    let k = (params.first + number) / each;
    var column = (params.first + number) % each;
    var row = 0u;
    while column >= params.across - row {
        column -= params.across - row;
        row += 1u;
    }
    column += row;

    let own = lane.index / ROWS;
    let place = lane.index % ROWS;
    let left = row * ROWS + place;
    let right = column * ROWS + row_of_place(place);
    var token = own * 8u;
    var right_ahead = load_run(token, right);
    var left_ahead = load_weighted(token, left, k);
    var products: Sums;
    for (var start = 0u; start < params.tokens; start += 8u * RUNS) {
        stage_row(own, place, right_ahead.low, right_ahead.high);
        stage_vector(own, place, left_ahead.low, left_ahead.high);
        workgroupBarrier();
        token += 8u * RUNS;
        right_ahead = load_run(token, right);
        left_ahead = load_weighted(token, left, k);
        products = multiply(products, lane);
        workgroupBarrier();
    }
    store_sums(products, lane, number, 0u, 0u);
}
