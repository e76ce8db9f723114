// What `decode_split` and `decode_merge` are told, and where states lie.
// Expects: const GROUP, Q_LEN, ROWS = GROUP Q_LEN, HEAD_QUADS = head dimension / 4.

struct Params {
    // KV heads.
    heads: u32,
    // Workgroups that have segments.
    groups: u32,
    // Slots; of given parts, their number.
    slots: u32,
    page_rows: u32,
    // Where the arrays begin in the schedule.
    head_rows: u32,
    starts: u32,
    group_first: u32,
    head_slots: u32,
    segments: u32,
    pages: u32,
    // A logit in base 2 is `outer` times the dot product; under a softcap `outer tanh(inner dot)`.
    inner: f32,
    outer: f32,
    // Bits of rows `mask_first .. mask_first + mask_rows` of every head begin here in the schedule, so
    // many words a head.
    masks: u32,
    mask_words: u32,
    mask_first: u32,
    mask_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// `m` of a state without keys: no infinity, which compilers may assume not to be.
const NO_KEY: f32 = -1e30;
const DIRECT: u32 = 0xffffffffu;
// Of vec4<f32>: o, then m, l and two zeros.
const STATE_QUADS: u32 = HEAD_QUADS + 1u;

// Query row `row = token GROUP + g` of a KV head, among [q_len, H G].
fn query_row(head: u32, row: u32) -> u32 {
    return (row / GROUP * params.heads + head) * GROUP + row % GROUP;
}

// The state of a slot.
fn state_at(slot: u32, row: u32) -> u32 {
    return (slot * ROWS + row) * STATE_QUADS;
}

// m and l of a head that is written directly: behind all slots.
fn direct_at(head: u32, row: u32) -> u32 {
    return params.slots * ROWS * STATE_QUADS + head * ROWS + row;
}
