//! In which memory a buffer lies.
//!
//! Residuals and other large things that a step reads little of belong into the host's memory, which a
//! device can read in place (zero copy) where it has `MAPPABLE_PRIMARY_BUFFERS`. Which memory a driver
//! takes for a buffer follows from its usages alone: `MAP_READ` asks for memory that the host caches,
//! which on discrete GPUs is the host's own, while `MAP_WRITE` gets device memory that the host can
//! reach, so that a buffer meant to save device memory spends it. An H100 reads the first kind at
//! 51 GB/s over its link, the second at 3 TB/s. No driver has to follow that: on a new machine
//! [`crate::measure::residence`] streams a buffer and says where it really is.
//!
//! What is in the host's memory already need not be copied into a buffer at all: with the feature
//! `hostmem` a device of Vulkan's with `VK_EXT_external_memory_host` reads the pages where they
//! are. `Context::page_alignment` of the module `hostmem` tells whether it can, `Context::pages`
//! and `Context::adopt` are for pages that this crate makes and the caller fills, from a file say,
//! and `Context::import_pages` takes pages of the caller's own. Such memory is the host's for
//! certain, since it was there before the driver was asked.

use crate::{Context, Scalar, View};
use fewbytes::{Error, Result};

/// Bytes that are written at a time: what wgpu has to keep until they have arrived.
const SLICE_BYTES: usize = 64 << 20;

/// Where a tensor should lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Placement {
    /// In the device's memory. Where host and device share one memory, as integrated GPUs do, this is
    /// that memory, and there is nothing to gain elsewhere.
    #[default]
    Device,
    /// In the host's memory, read by the device in place. An error where the device cannot.
    Host,
    /// In the host's memory where the device can read it in place, otherwise in the device's:
    /// [`Context::placed`] tells beforehand which it will be.
    HostOrDevice,
}

/// Which memory a tensor was put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Memory {
    /// The device's.
    Device,
    /// The host's, which the device reads in place.
    Host,
}

impl Memory {
    /// The name in tables and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Host => "host",
        }
    }

    /// What buffers there can be used for.
    fn usages(self) -> wgpu::BufferUsages {
        use wgpu::BufferUsages as Usages;
        match self {
            Self::Device => Usages::STORAGE | Usages::COPY_SRC | Usages::COPY_DST,
            // With MAP_WRITE it would lie in device memory; with COPY_SRC it might.
            Self::Host => Usages::STORAGE | Usages::MAP_READ | Usages::COPY_DST,
        }
    }
}

/// Whether host and device have one memory, so that there is no link to hide anything behind.
pub(crate) fn shares_memory(info: &wgpu::AdapterInfo) -> bool {
    matches!(info.device_type, wgpu::DeviceType::IntegratedGpu | wgpu::DeviceType::Cpu)
}

impl Context {
    /// The memory that a tensor with this placement is put into.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for [`Placement::Host`] on a device without `MAPPABLE_PRIMARY_BUFFERS`:
    /// browsers, and devices of the caller's that were opened without it.
    pub fn placed(&self, placement: Placement) -> Result<Memory> {
        let able = self.device().features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS);
        match placement {
            Placement::Device => Ok(Memory::Device),
            Placement::Host | Placement::HostOrDevice if able => Ok(Memory::Host),
            Placement::HostOrDevice => Ok(Memory::Device),
            Placement::Host => Err(Error::unsupported(
                "a tensor in host memory",
                "the device has no MAPPABLE_PRIMARY_BUFFERS; Placement::HostOrDevice puts it into \
                 device memory then",
            )),
        }
    }

    /// A new buffer of `len` elements in the memory that [`Context::placed`] tells, zeroed. Kernels
    /// can read and write it; [`Context::read`] can read it only in device memory.
    ///
    /// # Errors
    /// As [`Context::placed`] and [`Context::alloc`]; [`Error::OutOfMemory`] names the bytes and the
    /// memory.
    pub fn alloc_in<T: Scalar>(&self, len: usize, placement: Placement) -> Result<View> {
        let memory = self.placed(placement)?;
        if placement == Placement::HostOrDevice && memory == Memory::Device {
            log::warn!(
                "{}: no MAPPABLE_PRIMARY_BUFFERS, so {len} elements are in the device's memory \
                 instead of the host's",
                self.describe()
            );
        }
        self.alloc_with::<T>(len, memory.usages(), &format!("of {} memory", memory.name()))
    }

    /// A new buffer with these elements, in the memory that [`Context::placed`] tells. Writes and
    /// submits slices of 64 MiB, and waits for each outside browsers, so that wgpu holds no second copy
    /// of large tensors.
    ///
    /// # Errors
    /// As [`Context::alloc_in`].
    pub fn upload_in<T: Scalar>(&self, elements: &[T], placement: Placement) -> Result<View> {
        let view = self.alloc_in::<T>(elements.len(), placement)?;
        let each = SLICE_BYTES / size_of::<T>().max(1);
        for (at, slice) in elements.chunks(each).enumerate() {
            let first = at * each;
            self.write(&view.slice(first..first + slice.len())?, slice)?;
            if elements.len() > each {
                self.guarded().scoped("a slice of a tensor", |_| self.queue().submit([]))?;
                // Or slices that are not there yet would pile up.
                #[cfg(not(target_arch = "wasm32"))]
                self.wait()?;
            }
        }
        Ok(view)
    }
}
