// What the components that are not read come to is not asked for. Sibling: unread_stored.wgsl.

const MEAN: bool = false;

fn store_unread(query: u32, value: f32) {}
