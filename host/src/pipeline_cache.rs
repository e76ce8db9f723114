//! Compiled pipelines that outlive the process, where the driver leaves that to its users.

use crate::Context;
use crate::pipeline::Pipelines;
use fewbytes::launch::StableHash;

/// What saved pipelines begin with. The driver checks its own part of them, but not that every
/// byte is there and as it was.
const MAGIC: &[u8; 8] = b"fbpipes1";

/// Magic, device and driver, length, checksum.
const HEADER: usize = 32;

impl Context {
    /// Keeps compiled pipelines in a form that [`Context::pipeline_cache_data`] hands out, from now
    /// on. Does nothing but say so (`log::debug!`) where the device was opened without
    /// [`wgpu::Features::PIPELINE_CACHE`], which only some Vulkan drivers have.
    ///
    /// Many drivers keep a cache of their own and gain nothing from this one.
    #[must_use]
    pub fn with_pipeline_cache(mut self) -> Self {
        self.pipelines = Pipelines::new(create(&self, None));
        self
    }

    /// As [`Context::with_pipeline_cache`], starting from what was saved earlier.
    ///
    /// Bytes of another device, driver or format, or ones that were truncated or altered by
    /// accident, are passed over (`log::debug!` says why): the cache then starts empty.
    ///
    /// # Safety
    /// `saved` must come from [`Context::pipeline_cache_data`]. Drivers execute what is in it. The
    /// checksum finds accidents, not malice, so nobody else may be able to write the file that it
    /// was kept in.
    #[allow(unsafe_code)]
    #[must_use]
    pub unsafe fn with_saved_pipelines(mut self, saved: &[u8]) -> Self {
        let data = match unwrapped(saved, self.info()) {
            Ok(data) => Some(data),
            Err(why) => {
                log::debug!("saved pipelines are not used: {why}");
                None
            }
        };
        self.pipelines = Pipelines::new(create(&self, data));
        self
    }

    /// The pipelines compiled since [`Context::with_pipeline_cache`], and those that it began
    /// with, to be kept for [`Context::with_saved_pipelines`]. `None` where there is no cache.
    ///
    /// Keep it in a file that only its owner can write, written beside and renamed into place.
    pub fn pipeline_cache_data(&self) -> Option<Vec<u8>> {
        let data = self.pipelines.cache()?.get_data()?;
        Some(wrapped(&data, self.info()))
    }
}

/// The cache, where the device can have one.
#[allow(unsafe_code)]
fn create(ctx: &Context, data: Option<&[u8]>) -> Option<wgpu::PipelineCache> {
    if !ctx.device().features().contains(wgpu::Features::PIPELINE_CACHE) {
        log::debug!("{}: no pipeline cache, the feature is missing", ctx.describe());
        return None;
    }
    let made = ctx.guarded().scoped("a pipeline cache", |device| {
        let descriptor = wgpu::PipelineCacheDescriptor {
            label: Some("fewbytes pipelines"),
            data,
            // wgpu or the driver may still find the data too old: then start empty.
            fallback: true,
        };
        // SAFETY: where there is data, the caller of `Context::with_saved_pipelines` vouches that
        // it comes from `PipelineCache::get_data`, and `unwrapped` has checked that it is for this
        // device and driver, complete and unaltered.
        unsafe { device.create_pipeline_cache(&descriptor) }
    });
    made.map_err(|error| log::debug!("no pipeline cache: {error}")).ok()
}

/// What has to be the same for compiled code to be of use.
fn identity(info: &wgpu::AdapterInfo) -> u64 {
    let mut hash = StableHash::default();
    hash.field(wgpu::util::pipeline_cache_key(info).unwrap_or_default().as_bytes());
    hash.field(info.name.as_bytes());
    hash.field(info.driver.as_bytes());
    hash.field(info.driver_info.as_bytes());
    // 32-bit and 64-bit drivers of one version do not understand each other.
    hash.field(&size_of::<usize>().to_le_bytes());
    hash.finish()
}

fn checksum(identity: u64, data: &[u8]) -> u64 {
    let mut hash = StableHash::default();
    hash.field(&identity.to_le_bytes());
    hash.field(data);
    hash.finish()
}

fn wrapped(data: &[u8], info: &wgpu::AdapterInfo) -> Vec<u8> {
    let identity = identity(info);
    let mut saved = Vec::with_capacity(HEADER + data.len());
    saved.extend_from_slice(MAGIC);
    for word in [identity, data.len() as u64, checksum(identity, data)] {
        saved.extend_from_slice(&word.to_le_bytes());
    }
    saved.extend_from_slice(data);
    saved
}

/// The driver's part of saved pipelines, or why they are of no use.
fn unwrapped<'a>(saved: &'a [u8], info: &wgpu::AdapterInfo) -> Result<&'a [u8], &'static str> {
    let (header, data) = saved.split_at_checked(HEADER).ok_or("they are shorter than a header")?;
    let (magic, words) = header.split_at_checked(MAGIC.len()).ok_or("they have no header")?;
    if magic != MAGIC {
        return Err("they are in another format");
    }
    let mut words = words
        .chunks_exact(8)
        .map(|word| word.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte)));
    let mut next = || words.next().unwrap_or_default();
    let (device, length, sum) = (next(), next(), next());
    if device != identity(info) {
        return Err("they are for another device or driver");
    }
    if length != data.len() as u64 {
        return Err("their length is not what it was");
    }
    if sum != checksum(device, data) {
        return Err("their checksum is not what it was");
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu::{Backend, DeviceType};

    fn info() -> wgpu::AdapterInfo {
        let mut info = wgpu::AdapterInfo::new(DeviceType::Other, Backend::Vulkan);
        (info.vendor, info.device) = (1, 2);
        (info.driver, info.driver_info) = ("driver".to_owned(), "1.0".to_owned());
        info
    }

    #[test]
    fn what_was_saved_comes_back_whole() {
        for data in [&b""[..], b"code"] {
            assert_eq!(unwrapped(&wrapped(data, &info()), &info()), Ok(data));
        }
    }

    #[test]
    fn another_device_or_driver_is_told_apart() {
        let saved = wrapped(b"code", &info());
        for other in [
            wgpu::AdapterInfo { device: 3, ..info() },
            wgpu::AdapterInfo { name: "other".to_owned(), ..info() },
            wgpu::AdapterInfo { driver: "other".to_owned(), ..info() },
            wgpu::AdapterInfo { driver_info: "1.1".to_owned(), ..info() },
        ] {
            let why = unwrapped(&saved, &other).unwrap_err();
            assert!(why.contains("another device"), "{why}");
        }
    }

    #[test]
    fn every_byte_counts() {
        let saved = wrapped(b"code", &info());
        for length in 0..saved.len() {
            assert!(unwrapped(&saved[..length], &info()).is_err(), "{length} bytes");
        }
        for at in 0..saved.len() {
            let mut altered = saved.clone();
            altered[at] ^= 1;
            assert!(unwrapped(&altered, &info()).is_err(), "byte {at}");
        }
        assert!(unwrapped(&[saved.as_slice(), b"!"].concat(), &info()).is_err());
    }
}
