//! Systems without Vulkan: no pages can be imported.

use super::Span;
use fewbytes::{Error, Result};

/// No device is opened in a special way.
pub(crate) fn open(
    _adapter: &wgpu::Adapter,
    _descriptor: &wgpu::DeviceDescriptor<'_>,
) -> Option<(wgpu::Device, wgpu::Queue)> {
    None
}

/// No pages are of use.
pub(super) fn alignment(_device: &wgpu::Device) -> Option<u64> {
    None
}

/// An error, always; the checks before it do not let anybody come here.
///
/// # Safety
/// None.
#[allow(unsafe_code)]
pub(super) unsafe fn import(
    _device: &wgpu::Device,
    span: Span,
    _usage: wgpu::BufferUsages,
    _owner: impl Send + Sync + 'static,
) -> Result<wgpu::Buffer> {
    Err(Error::unsupported(span.name(), "this system has no Vulkan"))
}
