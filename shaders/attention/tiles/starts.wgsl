// From where on new tokens see keys.
// Expects: const WINDOWED, whether that is told by `starts`.

// The first key that a new token sees.
fn start_of(segment: Segment, token: u32) -> u32 {
    if WINDOWED {
        return schedule[params.starts + token * params.heads + segment.head];
    }
    return 0u;
}
