//! Which positions have scores.

use std::collections::BTreeMap;

/// Chunks that were scored, of every layer: each counts once, however often it was.
#[derive(Debug, Default)]
pub(super) struct Scored {
    /// Where the chunk of a layer that begins at a position ends, the furthest of several.
    ends: BTreeMap<(usize, u32), u32>,
}

impl Scored {
    /// A chunk of `rows` positions from `start` on has been scored.
    pub(super) fn add(&mut self, layer: usize, start: u32, rows: u32) {
        let end = self.ends.entry((layer, start)).or_default();
        *end = start.saturating_add(rows).max(*end);
    }

    /// Positions with scores, of all layers together.
    pub(super) fn positions(&self) -> u64 {
        let (mut all, mut before) = (0, (0, 0));
        for (&(layer, start), &end) in &self.ends {
            // In the order of layers and positions; chunks may overlap.
            let reached = if before.0 == layer { before.1 } else { 0 };
            all += u64::from(end.saturating_sub(start.max(reached)));
            before = (layer, end.max(reached));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::Scored;

    #[test]
    fn what_is_scored_again_counts_once() {
        let mut scored = Scored::default();
        assert_eq!(scored.positions(), 0);
        scored.add(1, 64, 64);
        scored.add(1, 64, 64);
        assert_eq!(scored.positions(), 64);
        // A shorter one takes nothing back, and those that overlap count what they add.
        scored.add(1, 64, 10);
        scored.add(1, 100, 50);
        scored.add(1, 70, 20);
        assert_eq!(scored.positions(), 86);
        scored.add(0, 0, 150);
        scored.add(2, 0, 10);
        scored.add(2, u32::MAX, 10);
        assert_eq!(scored.positions(), 246);
    }
}
