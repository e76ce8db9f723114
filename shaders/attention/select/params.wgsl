// What a selection is told, and where keys, blocks and segments are.

struct Params {
    // Positions of the context, and of these the first ones and those from which all are always kept.
    n: u32,
    sink: u32,
    recent_from: u32,
    // Words of a row of the mask.
    words: u32,
    // Rows of this piece of the scores: its first of all, how many; of a layer; of a segment.
    first_row: u32,
    rows: u32,
    heads: u32,
    segment_rows: u32,
    // Scores from layer to layer.
    stride: u32,
    // Blocks of a row, of a workgroup.
    row_blocks: u32,
    span: u32,
    // Slots for candidates of a block.
    slots: u32,
    // Segments, chunks of blocks of each, whether the last key is left out.
    segments: u32,
    chunks: u32,
    strict: u32,
    // Words to clear.
    cleared: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Keys of a block, words of its mask.
const BLOCK: u32 = 2048u;
const BLOCK_WORDS: u32 = 64u;
// Keys of a lane.
const OWN: u32 = 8u;
// Bins of a histogram.
const BINS: u32 = 2048u;
// Blocks of a chunk.
const CHUNK: u32 = 256u;
// The key of a pair that is always kept, above that of any number.
const ALWAYS: u32 = 0xffffffffu;

// The report: a word that counts NaN and three more, four words of each segment, one of each row.
const HEADER: u32 = 4u;
// Of a segment: the key so far, how many of those that begin so are wanted, how many there are.
const KEY: u32 = 0u;
const WANTED: u32 = 1u;
const EQUAL: u32 = 2u;

fn report_of(segment: u32) -> u32 {
    return HEADER + 4u * segment;
}

fn report_kept(row: u32) -> u32 {
    return HEADER + 4u * params.segments + row;
}

// Where a block of the piece is.
struct Place {
    // Its number among the blocks of all pieces and of its segment.
    number: u32,
    in_segment: u32,
    row: u32,
    segment: u32,
    // Its first score in the piece, and its first position.
    scores: u32,
    start: u32,
    // Keys.
    count: u32,
}

fn place_of(block: u32) -> Place {
    let own_row = block / params.row_blocks;
    let within = block % params.row_blocks;
    let row = params.first_row + own_row;
    let start = within * BLOCK;
    return Place(
        params.first_row * params.row_blocks + block,
        (row % params.segment_rows) * params.row_blocks + within,
        row,
        row / params.segment_rows,
        own_row / params.heads * params.stride + own_row % params.heads * params.n + start,
        start,
        min(params.n - start, BLOCK),
    );
}

fn piece_blocks() -> u32 {
    return params.rows * params.row_blocks;
}

// Where the segment of a block ends, if not the piece before it.
fn run_end(place: Place, block: u32) -> u32 {
    let left = params.segment_rows * params.row_blocks - place.in_segment;
    return block + left;
}
