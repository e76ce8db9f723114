//! Cutting a matrix by rows so that every piece fits one binding.

use crate::{Error, Result};

/// Pieces start at multiples of this many rows, so that with elements of 2 bytes or more every
/// piece of a row-major tensor starts at a multiple of 256 bytes, WebGPU's binding alignment.
pub const ROW_ALIGNMENT: usize = 128;

/// Rows a piece: all of them where they fit `limit` bytes, otherwise the largest multiple of
/// [`ROW_ALIGNMENT`] that does.
///
/// `row_bytes` is what one row adds to a piece, `fixed_bytes` what a piece has besides (padding).
///
/// # Errors
/// [`Error::BindingTooLarge`] when [`ROW_ALIGNMENT`] rows do not fit.
pub fn shard_rows(
    what: &str,
    rows: usize,
    row_bytes: u64,
    fixed_bytes: u64,
    limit: u64,
) -> Result<usize> {
    shard_rows_by(what, rows, ROW_ALIGNMENT, row_bytes, fixed_bytes, limit)
}

/// As [`shard_rows`] for pieces that may start at multiples of `multiple` rows too, which divides
/// [`ROW_ALIGNMENT`]: they do where no piece of that many fits.
pub(crate) fn shard_rows_by(
    what: &str,
    rows: usize,
    multiple: usize,
    row_bytes: u64,
    fixed_bytes: u64,
    limit: u64,
) -> Result<usize> {
    let bytes_of = |n: u64| n.checked_mul(row_bytes).and_then(|b| b.checked_add(fixed_bytes));
    if bytes_of(rows as u64).is_some_and(|bytes| bytes <= limit) {
        return Ok(rows);
    }
    let fitting = limit.saturating_sub(fixed_bytes) / row_bytes.max(1);
    let coarse = if fitting < ROW_ALIGNMENT as u64 { multiple } else { ROW_ALIGNMENT } as u64;
    let aligned = fitting / coarse * coarse;
    match usize::try_from(aligned) {
        Ok(aligned) if aligned > 0 => Ok(aligned),
        _ => Err(Error::BindingTooLarge {
            what: format!("{multiple} rows of {what}"),
            bytes: bytes_of(multiple as u64).unwrap_or(u64::MAX),
            limit,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_and_start_aligned() {
        assert_eq!(shard_rows("w", 77, 1000, 0, 77_000).unwrap(), 77);
        assert_eq!(shard_rows("w", 1000, 1000, 0, 300_000).unwrap(), 256);
        assert_eq!(shard_rows("w", 1000, 1000, 100_000, 300_000).unwrap(), 128);
        let error = shard_rows("w", 1000, 1 << 20, 0, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::BindingTooLarge { bytes: 134_217_728, .. }), "{error}");
        assert!(shard_rows("w", usize::MAX, u64::MAX, 1, 1 << 20).is_err());
        // Fewer rows only where those do not fit.
        assert_eq!(shard_rows_by("w", 1000, 2, 1000, 0, 300_000).unwrap(), 256);
        assert_eq!(shard_rows_by("w", 1000, 2, 1000, 0, 127_000).unwrap(), 126);
        let error = shard_rows_by("w", 1000, 2, 1000, 100, 2000).unwrap_err();
        assert!(matches!(error, Error::BindingTooLarge { bytes: 2100, .. }), "{error}");
    }
}
