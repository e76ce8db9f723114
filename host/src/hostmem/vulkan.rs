//! `VK_EXT_external_memory_host`: a device with it, and buffers over imported pages.

use super::{OWN, Span};
use ash::ext::external_memory_host::{self, NAME};
use ash::vk;
use fewbytes::{Error, Result};
use wgpu::hal::api::Vulkan;

/// Host memory that was allocated by anyone, in Vulkan's words.
const PAGES: vk::ExternalMemoryHandleTypeFlags =
    vk::ExternalMemoryHandleTypeFlags::HOST_ALLOCATION_EXT;

/// Opens a device with the extension; `None` where the adapter has none, and where that fails, so
/// that it is opened without.
#[allow(unsafe_code)]
pub(crate) fn open(
    adapter: &wgpu::Adapter,
    descriptor: &wgpu::DeviceDescriptor<'_>,
) -> Option<(wgpu::Device, wgpu::Queue)> {
    let opened = {
        // SAFETY: the adapter is asked and opened, and not destroyed.
        let hal = unsafe { adapter.as_hal::<Vulkan>() }?;
        if !hal.physical_device_capabilities().supports_extension(NAME) {
            return None;
        }
        // SAFETY: the physical device is this instance's and has the extension.
        unsafe { wanted(hal.shared_instance(), hal.raw_physical_device()) }?;
        // SAFETY: features and limits are the adapter's own, as for any device that is opened here;
        // the callback adds one extension, which the driver has and which has no features.
        unsafe {
            hal.open_with_callback(
                descriptor.required_features,
                &descriptor.required_limits,
                &descriptor.memory_hints,
                Some(Box::new(|device| device.extensions.push(NAME))),
            )
        }
    };
    let failed = |why: &dyn std::fmt::Display| {
        let name = adapter.get_info().name;
        log::warn!("{name}: opened without VK_EXT_external_memory_host: {why}");
    };
    let opened = opened.inspect_err(|why| failed(why)).ok()?;
    // SAFETY: the device was opened on this adapter, with these features.
    let made = unsafe { adapter.create_device_from_hal::<Vulkan>(opened, descriptor) };
    made.inspect_err(|why| failed(why)).ok()
}

/// What pages have to be aligned to, where the device was opened with the extension.
#[allow(unsafe_code)]
pub(super) fn alignment(device: &wgpu::Device) -> Option<u64> {
    // SAFETY: the device is asked, and not destroyed.
    let hal = unsafe { device.as_hal::<Vulkan>() }?;
    if !hal.enabled_device_extensions().contains(&NAME) {
        return None;
    }
    // SAFETY: the physical device is this instance's, and a device of it was opened with the
    // extension.
    unsafe { wanted(hal.shared_instance(), hal.raw_physical_device()) }
}

/// What pages have to be aligned to; `None` where storage buffers cannot lie over any: SwiftShader
/// has the extension, but says so of it.
///
/// # Safety
/// The physical device is the instance's and has the extension.
#[allow(unsafe_code)]
unsafe fn wanted(
    instance: &wgpu::hal::vulkan::InstanceShared,
    physical: vk::PhysicalDevice,
) -> Option<u64> {
    let raw = instance.raw_instance();
    // SAFETY: the physical device is this instance's.
    let version = unsafe { raw.get_physical_device_properties(physical) }.api_version;
    // What this file calls, and what the extension builds on, is in Vulkan 1.1.
    if version.min(instance.instance_api_version()) < vk::API_VERSION_1_1 {
        return None;
    }
    let buffers =
        vk::PhysicalDeviceExternalBufferInfo::default().usage(flags(OWN)).handle_type(PAGES);
    let mut able = vk::ExternalBufferProperties::default();
    let mut host = vk::PhysicalDeviceExternalMemoryHostPropertiesEXT::default();
    let mut all = vk::PhysicalDeviceProperties2::default().push_next(&mut host);
    // SAFETY: the physical device is this instance's, and both have the functions since Vulkan 1.1.
    unsafe {
        raw.get_physical_device_properties2(physical, &mut all);
        raw.get_physical_device_external_buffer_properties(physical, &buffers, &mut able);
    }
    let able = able.external_memory_properties.external_memory_features;
    let alone = vk::ExternalMemoryFeatureFlags::DEDICATED_ONLY;
    let importable =
        able.contains(vk::ExternalMemoryFeatureFlags::IMPORTABLE) && !able.contains(alone);
    importable.then_some(host.min_imported_host_pointer_alignment)
}

/// Objects over imported pages. They go in the order that Vulkan asks for: buffer, memory, and
/// after them the pages' owner.
struct Imported<O> {
    device: ash::Device,
    /// Null until it is made, as the memory is.
    buffer: vk::Buffer,
    memory: vk::DeviceMemory,
    /// Keeps the pages mapped. Fields are dropped after `drop`.
    _owner: O,
}

impl<O> Drop for Imported<O> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: both are this device's or null, and nobody else destroys them. wgpu drops what
        // holds this only when submitted work that uses the buffer is done, and before the device;
        // where an error drops it, no work was submitted.
        unsafe {
            self.device.destroy_buffer(self.buffer, None);
            self.device.free_memory(self.memory, None);
        }
    }
}

/// Makes a buffer over pages.
///
/// # Safety
/// [`alignment`] is not `None` for the device, and the span is a multiple of it. The pages are
/// mapped, initialized, readable and writable until the owner is dropped, and nobody disturbs the
/// device's work on them.
#[allow(unsafe_code)]
pub(super) unsafe fn import(
    device: &wgpu::Device,
    span: Span,
    usage: wgpu::BufferUsages,
    owner: impl Send + Sync + 'static,
) -> Result<wgpu::Buffer> {
    let imported = {
        // SAFETY: the device makes objects, and is not destroyed.
        let hal = unsafe { device.as_hal::<Vulkan>() };
        let hal =
            hal.ok_or_else(|| Error::unsupported(span.name(), "the device is not Vulkan's"))?;
        // SAFETY: the caller vouches for all of it.
        unsafe { imported(&hal, span, usage, owner) }?
    };
    let raw = imported.buffer;
    // SAFETY: the buffer lives until the callback drops it.
    let hal = unsafe {
        wgpu::hal::vulkan::Buffer::from_raw_externally_owned(raw, Box::new(move || drop(imported)))
    };
    let descriptor = wgpu::BufferDescriptor {
        label: Some("fewbytes pages"),
        size: span.bytes,
        usage,
        mapped_at_creation: false,
    };
    // SAFETY: the buffer was made on this device with this size and usage, and is not empty; its
    // contents are initialized, for which the caller vouches.
    Ok(unsafe { device.create_buffer_from_hal::<Vulkan>(hal, &descriptor) })
}

/// # Safety
/// As [`import`].
#[allow(unsafe_code)]
unsafe fn imported<O>(
    hal: &wgpu::hal::vulkan::Device,
    span: Span,
    usage: wgpu::BufferUsages,
    owner: O,
) -> Result<Imported<O>> {
    let failed = |why| refused(span, why);
    let (device, physical) = (hal.raw_device(), hal.raw_physical_device());
    let instance = hal.shared_instance().raw_instance();
    let start = span.start.as_ptr().cast();
    let usage = flags(usage);

    let extension = external_memory_host::Device::new(instance, device);
    let mut pointer = vk::MemoryHostPointerPropertiesEXT::default();
    // SAFETY: the device has the extension, and the address is aligned as it wants.
    let asked = unsafe {
        (extension.fp().get_memory_host_pointer_properties_ext)(
            device.handle(),
            PAGES,
            start,
            &mut pointer,
        )
    };
    asked.result().map_err(failed)?;

    let mut made = Imported {
        device: device.clone(),
        buffer: vk::Buffer::null(),
        memory: vk::DeviceMemory::null(),
        _owner: owner,
    };
    let mut external = vk::ExternalMemoryBufferCreateInfo::default().handle_types(PAGES);
    let wanted = vk::BufferCreateInfo::default()
        .size(span.bytes)
        .usage(usage)
        .sharing_mode(vk::SharingMode::EXCLUSIVE)
        .push_next(&mut external);
    // SAFETY: the size is not zero, and the driver can import pages into buffers of these usages,
    // which are among those that `wanted` asks it about.
    made.buffer = unsafe { device.create_buffer(&wanted, None) }.map_err(failed)?;
    // SAFETY: the buffer is this device's, and the physical device is this instance's.
    let (needs, memories) = unsafe {
        let needs = device.get_buffer_memory_requirements(made.buffer);
        (needs, instance.get_physical_device_memory_properties(physical))
    };
    if needs.size > span.bytes {
        let found = format!("the driver wants {} bytes for it", needs.size);
        return Err(Error::unsupported(span.name(), found));
    }
    let bits = needs.memory_type_bits & pointer.memory_type_bits;
    let kind = coherent(bits, memories.memory_types_as_slice()).ok_or_else(|| {
        let why = format!(
            "no coherent memory type is both for the pages ({:#b}) and for buffers ({:#b})",
            pointer.memory_type_bits, needs.memory_type_bits
        );
        Error::unsupported(span.name(), why)
    })?;
    let mut pages =
        vk::ImportMemoryHostPointerInfoEXT::default().handle_type(PAGES).host_pointer(start);
    let wanted = vk::MemoryAllocateInfo::default()
        .allocation_size(span.bytes)
        .memory_type_index(kind)
        .push_next(&mut pages);
    // SAFETY: address and size are multiples of what the device wants, the memory type is one of
    // those that it named for this address, and the caller keeps the pages mapped.
    made.memory = unsafe { device.allocate_memory(&wanted, None) }.map_err(failed)?;
    // SAFETY: neither is bound yet, the memory is as large as the buffer needs and of a type that
    // it can have, and offset 0 is aligned.
    unsafe { device.bind_buffer_memory(made.buffer, made.memory, 0) }.map_err(failed)?;
    Ok(made)
}

/// Usages in Vulkan's words: those that buffers over pages have.
fn flags(usage: wgpu::BufferUsages) -> vk::BufferUsageFlags {
    let pairs = [
        (wgpu::BufferUsages::STORAGE, vk::BufferUsageFlags::STORAGE_BUFFER),
        (wgpu::BufferUsages::COPY_SRC, vk::BufferUsageFlags::TRANSFER_SRC),
        (wgpu::BufferUsages::COPY_DST, vk::BufferUsageFlags::TRANSFER_DST),
    ];
    let named = pairs.into_iter().filter(|(named, _)| usage.contains(*named));
    named.fold(vk::BufferUsageFlags::empty(), |all, (_, flag)| all | flag)
}

/// The memory type for pages: one where what the host writes needs no flushing, which would take a
/// mapping; of those, one that the host caches, as it does its own memory.
fn coherent(bits: u32, types: &[vk::MemoryType]) -> Option<u32> {
    use vk::MemoryPropertyFlags as Flags;
    let among = |wanted: Flags| {
        let of = |&(at, kind): &(u32, &vk::MemoryType)| {
            bits >> at & 1 == 1 && kind.property_flags.contains(wanted)
        };
        (0..32).zip(types).find(of).map(|(at, _)| at)
    };
    let shared = Flags::HOST_VISIBLE | Flags::HOST_COHERENT;
    among(shared | Flags::HOST_CACHED).or_else(|| among(shared))
}

/// What Vulkan's refusal is called here.
fn refused(span: Span, why: vk::Result) -> Error {
    let (what, message) = (span.name(), format!("{why} ({why:?})"));
    match why {
        vk::Result::ERROR_OUT_OF_HOST_MEMORY
        | vk::Result::ERROR_OUT_OF_DEVICE_MEMORY
        | vk::Result::ERROR_TOO_MANY_OBJECTS => Error::OutOfMemory { what, message },
        vk::Result::ERROR_DEVICE_LOST => Error::DeviceLost { reason: message },
        _ => Error::Validation { what, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vk::MemoryPropertyFlags as Flags;

    #[test]
    fn pages_get_coherent_memory_that_the_host_caches() {
        let kind = |property_flags| vk::MemoryType { property_flags, heap_index: 0 };
        let shared = Flags::HOST_VISIBLE | Flags::HOST_COHERENT;
        let types = [
            kind(Flags::DEVICE_LOCAL),
            kind(Flags::HOST_VISIBLE | Flags::HOST_CACHED),
            kind(shared),
            kind(shared | Flags::HOST_CACHED),
        ];
        assert_eq!(coherent(0b1111, &types), Some(3));
        assert_eq!(coherent(0b0111, &types), Some(2));
        assert_eq!(coherent(0b0011, &types), None);
        assert_eq!(coherent(0, &types), None);
        assert_eq!(coherent(u32::MAX, &[types[1]; 32]), None);
    }

    #[test]
    fn refusals_name_the_bytes() {
        let span = Span { start: std::ptr::NonNull::dangling(), bytes: 12_345 };
        let memory = refused(span, vk::Result::ERROR_OUT_OF_DEVICE_MEMORY);
        assert!(matches!(memory, Error::OutOfMemory { .. }), "{memory}");
        assert!(memory.to_string().contains("12345 bytes"), "{memory}");
        let kind = refused(span, vk::Result::ERROR_INVALID_EXTERNAL_HANDLE);
        assert!(matches!(kind, Error::Validation { .. }), "{kind}");
        assert!(kind.to_string().contains("ERROR_INVALID_EXTERNAL_HANDLE"), "{kind}");
    }

    #[test]
    fn usages_are_named_alike() {
        use super::super::LENT;
        use vk::BufferUsageFlags as Flags;
        assert_eq!(flags(LENT), Flags::STORAGE_BUFFER | Flags::TRANSFER_SRC);
        assert_eq!(flags(OWN), flags(LENT) | Flags::TRANSFER_DST);
    }
}
