//! The element type of the lookup tables.

/// How the entries of a layer's lookup tables are stored.
///
/// Tables are a sizeable part of what a kernel reads (512 of 4608 bytes per row at 8 bits and 4096
/// inputs with [`F16`](Self::F16)), so half precision is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum TableElement {
    /// IEEE 754 binary16: 2 bytes, largest finite value 65504.
    #[default]
    F16,
    /// IEEE 754 binary32: 4 bytes, holds every centroid of `f32` weights.
    F32,
}

impl TableElement {
    /// Bytes of one table entry.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// `"f16"` or `"f32"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// Rounds once, to nearest with ties to even, and widens to `f32`; infinite beyond the range.
    pub(crate) fn round(self, value: f64) -> f32 {
        match self {
            Self::F16 => round_f16(value),
            Self::F32 => value as f32,
        }
    }
}

/// `value` rounded to binary16.
///
/// Plain `f64` arithmetic rather than a conversion instruction: those go through `f32` and round
/// twice, and whether they are used depends on the machine, which tables must not.
fn round_f16(value: f64) -> f32 {
    const BIAS: u64 = 1023;
    const LEAST_NORMAL: u64 = BIAS - 14;
    let exponent = (value.to_bits() >> 52) & 0x7ff;
    // The gap between neighbouring halves here, a power of two.
    let gap = f64::from_bits((exponent.max(LEAST_NORMAL) - 10) << 52);
    // 1.5 * 2^52 gaps: the sum has no room for anything finer, so the addition itself rounds.
    let magic = gap * 6_755_399_441_055_744.0;
    let rounded = (value + magic) - magic;
    if rounded.abs() > 65504.0 {
        f32::INFINITY.copysign(value as f32)
    } else {
        (rounded as f32).copysign(value as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_and_every_midpoint_rounds_as_it_should() {
        let mut previous: Option<f64> = None;
        for bits in 0..0x7c00_u16 {
            let half = half::f16::from_bits(bits).to_f64();
            assert_eq!(f64::from(round_f16(half)), half);
            assert_eq!(f64::from(round_f16(-half)), -half);
            if let Some(below) = previous {
                let middle = f64::midpoint(below, half);
                let even = if bits % 2 == 0 { half } else { below };
                assert_eq!(f64::from(round_f16(middle)), even, "tie at {middle}");
                assert_eq!(f64::from(round_f16(middle.next_up())), half);
                assert_eq!(f64::from(round_f16(middle.next_down())), below);
            }
            previous = Some(half);
        }
    }

    #[test]
    fn the_range_ends_where_halves_end() {
        assert_eq!(TableElement::F16.round(65519.9), 65504.0);
        assert_eq!(TableElement::F16.round(65520.0), f32::INFINITY);
        assert_eq!(TableElement::F16.round(-65520.0), f32::NEG_INFINITY);
        assert_eq!(TableElement::F16.round(-1e30), f32::NEG_INFINITY);
        assert_eq!(TableElement::F32.round(65520.0), 65520.0);
        assert_eq!((TableElement::F16.bytes(), TableElement::F32.bytes()), (2, 4));
        assert_eq!((TableElement::F16.name(), TableElement::F32.name()), ("f16", "f32"));
    }
}
