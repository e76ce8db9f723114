// What the components that are not read come to is asked for. Sibling: unread_none.wgsl.

const MEAN: bool = true;

// [T H G].
@group(0) @binding(24) var<storage, read_write> unread: array<f32>;

fn store_unread(query: u32, value: f32) {
    unread[query] = value;
}
