//! Buffers over pages of the host's, which kernels read in place.
//!
//! [`Placement::Host`](crate::Placement::Host) copies residuals into memory that the driver
//! allocates. Here the pages are there already and the device is told where they are: no second
//! copy, and no time to make it. It works on Vulkan with `VK_EXT_external_memory_host`, which
//! [`Context::open_on`] asks for where the adapter has it (but not with
//! [`Features::Baseline`](crate::Features::Baseline)); a device of the caller's can have been
//! opened with it as well. [`Context::page_alignment`] tells whether it is there.
//!
//! Elsewhere every call is [`Error::Unsupported`], and
//! [`Placement::HostOrDevice`](crate::Placement::HostOrDevice) the way to go. What is missing
//! there: Metal would need `newBufferWithBytesNoCopy`, DX12 `OpenExistingHeapFromAddress`, neither
//! of which is made use of yet; browsers have nothing like it, and there this module is absent.
//!
//! An H100 (driver 580.159.04) reads such pages at 51.4 GB/s, as fast as it reads `Placement::Host`
//! and as it copies over its link. To adopt 512 MiB that were filled took 25 ms there, to upload
//! them 245 ms. A file in a private map took 220 ms, since pages that are pinned for writing are
//! copied by the system: where memory is short, read the file into [`Context::pages`] instead.
//! Read-only and shared maps of files were refused as [`Error::OutOfMemory`], and good pages of
//! that size after them.
//!
//! ```no_run
//! use fewbytes_wgpu::{Context, Placement, Result, View};
//!
//! fn residual(ctx: &Context, words: usize, read: impl Fn(&mut [u32])) -> Result<View> {
//!     if ctx.page_alignment().is_some() {
//!         let mut pages = ctx.pages::<u32>(words)?;
//!         read(&mut pages);
//!         return ctx.adopt(pages);
//!     }
//!     let mut own = vec![0; words];
//!     read(&mut own);
//!     ctx.upload_in(&own, Placement::HostOrDevice)
//! }
//! ```

#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
mod elsewhere;
mod pages;
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
mod vulkan;

#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
use elsewhere as platform;
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
use vulkan as platform;

pub(crate) use platform::open;

use crate::{Context, Scalar, View};
use fewbytes::{Error, Result};
pub use pages::Pages;
use std::ptr::NonNull;

/// The pages that a buffer is to lie over.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: NonNull<u8>,
    bytes: u64,
}

impl Span {
    /// What errors call it.
    fn name(self) -> String {
        format!("a buffer over {} bytes of host pages", self.bytes)
    }

    /// Checks it against the device's alignment and its largest buffer.
    fn check(self, alignment: u64, limit: u64) -> Result<()> {
        if self.bytes == 0 {
            return Err(Error::range("bytes of pages", "1 and above", 0));
        }
        let named =
            [("address of pages", self.start.addr().get() as u64), ("bytes of pages", self.bytes)];
        if let Some((what, value)) = named.into_iter().find(|&(_, n)| !n.is_multiple_of(alignment))
        {
            return Err(Error::Alignment { what: what.to_owned(), multiple: alignment, value });
        }
        if self.bytes > limit {
            let what = "a buffer over host pages".to_owned();
            return Err(Error::BindingTooLarge { what, bytes: self.bytes, limit });
        }
        Ok(())
    }
}

/// What kernels and copies may do with pages of the caller's: nothing but a kernel that gets the
/// view as its output writes to them.
const LENT: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC);

/// With pages that were given away: as with any buffer.
const OWN: wgpu::BufferUsages = LENT.union(wgpu::BufferUsages::COPY_DST);

impl Context {
    /// What addresses and sizes of pages must be multiples of to be read in place, in bytes: a
    /// power of two, mostly that of the system's pages. `None` where the device cannot.
    pub fn page_alignment(&self) -> Option<u64> {
        platform::alignment(self.device())
    }

    /// New pages for `len` elements, zeroed, to be filled and given to [`Context::adopt`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] where [`Context::page_alignment`] is `None`, [`Error::Range`] for
    /// none, [`Error::BindingTooLarge`] beyond the device's buffer size, [`Error::OutOfMemory`].
    pub fn pages<T: Scalar>(&self, len: usize) -> Result<Pages<T>> {
        let alignment = self.page_alignment().ok_or_else(|| self.no_pages())?;
        Pages::new(len, alignment, self.caps().max_buffer_bytes)
    }

    /// Makes a view of pages, without a copy: kernels use them where they are. The pages belong to
    /// the buffer from here on, so this is safe: nobody else can reach them, and they are freed
    /// when the last view is gone and wgpu, which notices when it is polled, has seen the device's
    /// work end.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a device that cannot, [`Error::Alignment`] for pages made for
    /// another device with smaller ones, [`Error::BindingTooLarge`], [`Error::OutOfMemory`] naming
    /// the bytes where no more can be pinned, [`Error::Validation`], [`Error::DeviceLost`]. The
    /// pages are freed then.
    pub fn adopt<T: Scalar + Send + Sync>(&self, mut pages: Pages<T>) -> Result<View> {
        let (start, bytes, len) = (pages.start()?, pages.bytes(), pages.len());
        let span = Span { start, bytes };
        // SAFETY: `Pages` maps whole pages, initialized, readable and writable, at an address that
        // moving the owner does not change. It goes into the buffer, which unmaps it when the
        // device is done, and it lends its elements to nobody who could outlast the move.
        #[allow(unsafe_code)]
        let buffer = unsafe { self.over(span, OWN, pages) }?;
        View::new(&buffer, 0, len as u64, T::ELEMENT)
    }

    /// Makes a view of the caller's pages, without a copy: kernels read them where they are.
    /// `owner` is what keeps them mapped, such as a memory map or an `Arc` of one. It is dropped,
    /// on any thread, when the last view is gone and wgpu, which notices when it is polled, has
    /// seen the device's work end, or at once with an error; its `Drop` must not call wgpu.
    ///
    /// Address and size in bytes are multiples of [`Context::page_alignment`]. A file ends amid a
    /// page: give the whole page, and take the part that counts with [`View::slice`].
    ///
    /// What the caller writes to the pages between submissions, after waiting for the earlier one,
    /// the later one reads: the memory is coherent.
    ///
    /// # Safety
    /// - All of `pages` is mapped and stays so, at this address, until `owner` is dropped, even if
    ///   the owner is moved. Its contents are initialized.
    /// - It is mapped for reading and writing, since drivers may pin it for both: of a file take a
    ///   private map (copy on write). No other process shrinks or alters the file.
    /// - While submitted work that uses the view is not done, nobody writes to the pages; and where
    ///   the view is a kernel's output, nobody reads them either, and there is no Rust reference to
    ///   them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a device that cannot, [`Error::Range`] for no bytes,
    /// [`Error::Alignment`] for an address or size that is no multiple, [`Error::BindingTooLarge`]
    /// beyond the device's buffer size, [`Error::OutOfMemory`] naming the bytes where no more can
    /// be pinned, [`Error::Validation`] where the driver cannot use memory of this kind,
    /// [`Error::DeviceLost`].
    #[allow(unsafe_code)]
    pub unsafe fn import_pages<T: Scalar>(
        &self,
        pages: NonNull<[T]>,
        owner: impl Send + Sync + 'static,
    ) -> Result<View> {
        let bytes = (pages.len() as u64).saturating_mul(size_of::<T>() as u64);
        let span = Span { start: pages.cast(), bytes };
        // SAFETY: the caller vouches for the pages and their owner.
        let buffer = unsafe { self.over(span, LENT, owner) }?;
        View::new(&buffer, 0, pages.len() as u64, T::ELEMENT)
    }

    /// A buffer over pages.
    ///
    /// # Safety
    /// As [`Context::import_pages`].
    #[allow(unsafe_code)]
    unsafe fn over(
        &self,
        span: Span,
        usage: wgpu::BufferUsages,
        owner: impl Send + Sync + 'static,
    ) -> Result<wgpu::Buffer> {
        let alignment = self.page_alignment().ok_or_else(|| self.no_pages())?;
        span.check(alignment, self.caps().max_buffer_bytes)?;
        self.guarded().scoped(span.name(), |device| {
            // SAFETY: the caller vouches for the pages; that the device can import them, and that
            // they are aligned, was checked above.
            unsafe { platform::import(device, span, usage, owner) }
        })?
    }

    fn no_pages(&self) -> Error {
        let why = match self.info().backend {
            wgpu::Backend::Vulkan => {
                "the driver lacks VK_EXT_external_memory_host or imports no pages into storage \
                 buffers, or the device was opened without"
            }
            wgpu::Backend::Metal => "Metal's newBufferWithBytesNoCopy is not made use of yet",
            wgpu::Backend::Dx12 => "DX12's OpenExistingHeapFromAddress is not made use of yet",
            _ => "it takes Vulkan with VK_EXT_external_memory_host",
        };
        let why = format!("{why}; Placement::HostOrDevice makes a copy that is read in place");
        Error::unsupported("a buffer over host pages", why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(address: usize, bytes: u64) -> Span {
        Span { start: NonNull::new(std::ptr::without_provenance_mut(address)).unwrap(), bytes }
    }

    #[test]
    fn spans_are_whole_pages_and_fit() {
        assert!(span(1 << 16, 8192).check(4096, 8192).is_ok());
        for (address, bytes, what) in [(4100, 4096, "address"), (4096, 4100, "bytes")] {
            match span(address, bytes).check(4096, u64::MAX).unwrap_err() {
                Error::Alignment { what: found, multiple: 4096, value: 4100 } => {
                    assert!(found.starts_with(what), "{found}");
                }
                error => panic!("{error}"),
            }
        }
        let error = span(4096, 8192).check(4096, 8191).unwrap_err();
        assert!(matches!(error, Error::BindingTooLarge { bytes: 8192, limit: 8191, .. }));
        assert!(matches!(span(4096, 0).check(4096, 8192), Err(Error::Range { .. })));
    }

    #[test]
    fn a_backend_without_it_says_what_to_do_instead() {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let ctx = Context::new(&device, &queue).unwrap();
        assert_eq!(ctx.page_alignment(), None);
        let pages = Pages::<u32>::new(10, 4096, 4096).unwrap();
        let errors = [ctx.pages::<u32>(10).unwrap_err(), ctx.adopt(pages).unwrap_err()];
        for error in errors {
            assert!(matches!(error, Error::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains("Placement::HostOrDevice"), "{error}");
        }
    }
}
