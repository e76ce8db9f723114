//! Pages of our own, to be filled by the caller.

use crate::Scalar;
use bytemuck::{cast_slice, cast_slice_mut};
use fewbytes::{Error, Result};
use memmap2::MmapMut;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

/// Whole pages of memory with elements in them, made by [`Context::pages`](crate::Context::pages).
/// They are filled as the slice that they are and given to
/// [`Context::adopt`](crate::Context::adopt). The system provides a page when it is first touched.
#[derive(Debug)]
pub struct Pages<T> {
    /// The pages, and where the system's are smaller than the device wants them, some more.
    map: MmapMut,
    /// The first byte that is aligned as the device wants it.
    first: usize,
    /// Bytes from there on, whole pages.
    bytes: usize,
    /// Elements.
    len: usize,
    element: PhantomData<T>,
}

impl<T: Scalar> Pages<T> {
    pub(super) fn new(len: usize, alignment: u64, limit: u64) -> Result<Self> {
        if len == 0 {
            return Err(Error::range("elements of pages", "1 and above", len));
        }
        let bytes = (len as u64)
            .checked_mul(size_of::<T>() as u64)
            .and_then(|bytes| bytes.checked_next_multiple_of(alignment))
            .unwrap_or(u64::MAX);
        if bytes > limit {
            let what = "a buffer over host pages".to_owned();
            return Err(Error::BindingTooLarge { what, bytes, limit });
        }
        let (size, alignment) =
            (usize::try_from(bytes).unwrap_or(usize::MAX), usize::try_from(alignment).unwrap_or(1));
        let mapped = |size: usize| {
            MmapMut::map_anon(size).map_err(|error| Error::OutOfMemory {
                what: format!("{bytes} bytes of host pages"),
                message: error.to_string(),
            })
        };
        let mut map = mapped(size)?;
        if !map.as_ptr().addr().is_multiple_of(alignment) {
            map = mapped(size.saturating_add(alignment))?;
        }
        let first = map.as_ptr().addr().next_multiple_of(alignment) - map.as_ptr().addr();
        Ok(Self { map, first, bytes: size, len, element: PhantomData })
    }

    /// The bytes that hold elements: within the mapping, which was made for them.
    fn filled(&self) -> Range<usize> {
        self.first..self.first + self.len * size_of::<T>()
    }

    /// Bytes of whole pages.
    pub fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Where the pages begin.
    pub(super) fn start(&mut self) -> Result<NonNull<u8>> {
        let whole = self.first..self.first + self.bytes;
        let found = self.map.get_mut(whole).map(|bytes| NonNull::from(bytes).cast());
        found.ok_or_else(|| Error::shape("bytes of pages", "within their mapping", self.bytes))
    }
}

impl<T: Scalar> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.map.get(self.filled()).map(cast_slice).unwrap_or_default()
    }
}

impl<T: Scalar> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let filled = self.filled();
        self.map.get_mut(filled).map(cast_slice_mut).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_whole_aligned_and_zeroed() {
        // More than any system's own pages are aligned to, so that some more are needed.
        for alignment in [1 << 12, 1 << 16, 1 << 26] {
            let mut pages = Pages::<u32>::new(1025, alignment, u64::MAX).unwrap();
            assert!((pages.start().unwrap().addr().get() as u64).is_multiple_of(alignment));
            assert_eq!(pages.bytes(), 4100u64.next_multiple_of(alignment));
            assert_eq!(&pages[..], [0; 1025]);
            pages[1024] = 7;
            assert_eq!(pages.iter().sum::<u32>(), 7);
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let refused = |len, limit| Pages::<u8>::new(len, 4096, limit).unwrap_err();
        assert!(matches!(refused(0, 4096), Error::Range { .. }));
        let error = refused(4097, 4096);
        assert!(
            matches!(error, Error::BindingTooLarge { bytes: 8192, limit: 4096, .. }),
            "{error}"
        );
        let error = refused(usize::MAX, 1 << 40);
        assert!(matches!(error, Error::BindingTooLarge { bytes: u64::MAX, .. }), "{error}");
        // More than there are addresses.
        let error = refused(1 << 60, u64::MAX);
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
        assert!(error.to_string().contains(&(1u64 << 60).to_string()), "{error}");
    }
}
