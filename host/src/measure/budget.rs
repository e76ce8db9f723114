//! How much memory a rotation goes through.

/// Most copies of a rotation, however small they are: each costs bind groups and buffers.
///
/// Tensors below a thousandth of [`Budget::past_cache`] thus stay in the cache, as they would
/// in use.
pub const MOST_COPIES: usize = 1024;

/// Bytes that a rotation has to exceed, and may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Between two uses of a copy at least this many other bytes are touched, so that nothing of
    /// it is left in the last-level cache.
    pub past_cache: u64,
    /// Device memory that the tensors of a rotation and its scratch memory may take together. It
    /// goes before `past_cache`, but one copy is made however large it is.
    pub memory: u64,
}

impl Budget {
    /// A default for an adapter. No graphics API tells the size of the last-level cache, so it is
    /// what the largest known ones need: 256 MiB on GPUs (50 MB on an NVIDIA H100, 256 MB on an
    /// AMD MI300) within 6 GiB of memory, and 64 MiB within 1 GiB where the adapter is a CPU.
    pub fn for_device(info: &wgpu::AdapterInfo) -> Self {
        match info.device_type {
            wgpu::DeviceType::Cpu => Self { past_cache: 64 << 20, memory: 1 << 30 },
            _ => Self { past_cache: 256 << 20, memory: 6 << 30 },
        }
    }

    /// Copies of `bytes` bytes each that a rotation needs: at least two, so that successive
    /// dispatches touch different memory, unless two do not fit.
    pub fn copies(&self, bytes: u64) -> usize {
        self.copies_with(bytes, 0, 0)
    }

    /// As [`Budget::copies`], where each copy takes `extra` bytes besides, which not every dispatch
    /// touches, and all of them together `shared` bytes.
    pub(super) fn copies_with(&self, bytes: u64, extra: u64, shared: u64) -> usize {
        let (bytes, taken) = (bytes.max(1), bytes.saturating_add(extra).max(1));
        let wanted = self.past_cache.div_ceil(bytes).saturating_add(1);
        let fitting = (self.memory.saturating_sub(shared) / taken).max(1);
        let copies = wanted.max(2).min(fitting);
        usize::try_from(copies).map_or(MOST_COPIES, |copies| copies.min(MOST_COPIES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_uses_of_a_copy_lies_more_than_the_cache() {
        let budget = Budget { past_cache: 1000, memory: 10_000 };
        for bytes in [1, 7, 250, 333, 999, 1000, 1001, 4000] {
            let copies = budget.copies(bytes) as u64;
            assert!((copies - 1) * bytes >= 1000, "{bytes}: {copies}");
            assert!(copies * bytes <= 10_000 && copies >= 2, "{bytes}: {copies}");
        }
    }

    #[test]
    fn memory_limits_the_copies_down_to_one() {
        let budget = Budget { past_cache: 1000, memory: 5000 };
        assert_eq!(budget.copies(2500), 2);
        assert_eq!(budget.copies(2501), 1);
        assert_eq!(budget.copies(u64::MAX), 1);
        assert_eq!(Budget { past_cache: u64::MAX, memory: 0 }.copies(8), 1);
    }

    #[test]
    fn scratch_memory_takes_room_but_does_not_count_against_the_cache() {
        let budget = Budget { past_cache: 1000, memory: 4000 };
        assert_eq!(budget.copies(100), 11);
        assert_eq!(budget.copies_with(100, 100, 0), 11);
        assert_eq!(budget.copies_with(100, 900, 0), 4);
        assert_eq!(budget.copies_with(100, 0, 3500), 5);
        assert_eq!(budget.copies_with(100, u64::MAX, u64::MAX), 1);
    }

    #[test]
    fn tiny_tensors_are_not_copied_without_end() {
        let budget = Budget { past_cache: u64::MAX, memory: u64::MAX };
        assert_eq!([budget.copies(0), budget.copies(1)], [MOST_COPIES; 2]);
        assert_eq!(Budget { past_cache: 0, memory: 100 }.copies(0), 2);
    }
}
