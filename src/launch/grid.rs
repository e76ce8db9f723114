//! Grids past the limit of one dimension.

use crate::{Error, Result};

/// A grid of at least `groups` workgroups with no dimension above `max_groups`.
///
/// The shader's workgroup number is `group.y * groups.x + group.x`. A second dimension may add a
/// few workgroups beyond `groups`; kernels return from those at once.
///
/// # Errors
/// [`Error::Range`] when two dimensions do not suffice.
pub fn linear_grid(what: &str, groups: u64, max_groups: u32) -> Result<[u32; 3]> {
    let max = u64::from(max_groups.max(1));
    let y = groups.div_ceil(max).max(1);
    let x = groups.div_ceil(y);
    match (u32::try_from(x), u32::try_from(y)) {
        // The shader computes the workgroup number in u32.
        (Ok(x), Ok(y)) if u64::from(y) <= max && u64::from(x) * u64::from(y) <= 1 << 32 => {
            Ok([x, y, 1])
        }
        _ => Err(Error::range(
            format!("workgroups of {what}"),
            format!("0..={}", (max * max).min(1 << 32)),
            groups,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_is_covered_with_few_to_spare() {
        for groups in [0, 1, 65_534, 65_535, 65_536, 131_070, 131_071, 1 << 24, (1 << 31) + 7] {
            let [x, y, z] = linear_grid("k", groups, 65_535).unwrap();
            let made = u64::from(x) * u64::from(y);
            assert!(x <= 65_535 && y <= 65_535 && z == 1, "{groups}");
            assert!(made >= groups && made - groups <= u64::from(y), "{groups}: {x} x {y}");
        }
        assert!(linear_grid("k", 1 << 32, 65_535).is_err());
        assert!(linear_grid("k", 17, 4).is_err());
    }
}
