//! Finding adapters and opening devices.

use fewbytes::launch::{MatrixElement, MatrixShape};
use fewbytes::{Caps, Error, Result};

/// Which optional features a device is opened with.
#[derive(Debug, Clone, Copy, Default)]
pub enum Features {
    /// Everything the kernels know how to use and the adapter's own limits.
    #[default]
    Full,
    /// As [`Features::Full`], and cooperative matrices where the adapter lists some: wgpu calls them
    /// experimental, and its token, which only unsafe code can make, says that it may have bugs
    /// there that are undefined behaviour. With a token that is not enabled this is
    /// [`Features::Full`].
    Experimental(wgpu::ExperimentalFeatures),
    /// No optional feature and WebGPU's default limits, as on the least capable browser.
    Baseline,
}

impl Features {
    /// What makes one equal another, which wgpu's token leaves out.
    fn kind(self) -> (u8, bool) {
        match self {
            Self::Full => (0, false),
            Self::Experimental(token) => (1, token.is_enabled()),
            Self::Baseline => (2, false),
        }
    }
}

impl PartialEq for Features {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind()
    }
}

impl Eq for Features {}

impl std::hash::Hash for Features {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
    }
}

/// How [`crate::Context::open`] chooses and opens a device.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Only adapters whose name or driver contains this, ignoring case.
    pub adapter: Option<String>,
    /// Optional features and limits.
    pub features: Features,
}

impl OpenOptions {
    /// Takes the adapter from the environment variable `FEWBYTES_ADAPTER` where it is set.
    pub fn from_env() -> Self {
        Self { adapter: std::env::var("FEWBYTES_ADAPTER").ok(), ..Self::default() }
    }
}

/// Features that some kernel or tool can use.
const USEFUL: wgpu::Features = wgpu::Features::SHADER_F16
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS);

const BACKENDS: wgpu::Backends = wgpu::Backends::PRIMARY;

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: BACKENDS,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

/// Every adapter of this machine, the most capable kind first.
pub async fn adapters() -> Vec<wgpu::Adapter> {
    // One instance for all: wgpu names objects by numbers that are only unique within an instance,
    // so between devices of two instances it could not refuse a foreign buffer, and would bind
    // whichever of its own has that number.
    #[cfg(not(target_arch = "wasm32"))]
    static INSTANCE: std::sync::OnceLock<wgpu::Instance> = std::sync::OnceLock::new();
    #[cfg(not(target_arch = "wasm32"))]
    let instance = INSTANCE.get_or_init(instance);
    #[cfg(not(target_arch = "wasm32"))]
    let mut found = instance.enumerate_adapters(BACKENDS).await;
    // A browser hands out one adapter, of its own choice.
    #[cfg(target_arch = "wasm32")]
    let mut found: Vec<_> =
        instance().request_adapter(&Default::default()).await.into_iter().collect();
    found.sort_by_key(|adapter| {
        let kind = match adapter.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        // Of one kind, those with more useful features first.
        (kind, USEFUL.difference(adapter.features()).iter().count())
    });
    found
}

/// An adapter in words: name, backend, driver.
pub fn describe(info: &wgpu::AdapterInfo) -> String {
    let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
    format!("{} ({}, {})", info.name, info.backend, driver.trim())
}

pub(crate) async fn choose(options: &OpenOptions) -> Result<wgpu::Adapter> {
    let all = adapters().await;
    let names: Vec<String> = all.iter().map(|adapter| describe(&adapter.get_info())).collect();
    let wanted = options.adapter.as_deref().map(str::to_lowercase);
    let fits = |name: &String| wanted.as_ref().is_none_or(|w| name.to_lowercase().contains(w));
    let at = names.iter().position(fits);
    at.and_then(|at| all.into_iter().nth(at)).ok_or_else(|| {
        let what = match &options.adapter {
            Some(wanted) => format!("adapter {wanted:?}"),
            None => "a GPU adapter".to_owned(),
        };
        let why = if names.is_empty() {
            "no Vulkan, Metal or DX12 driver was found; on Debian or Ubuntu, \
             `apt-get install mesa-vulkan-drivers libvulkan1` installs one that needs no GPU"
                .to_owned()
        } else {
            format!("there are: {}", names.join("; "))
        };
        Error::unsupported(what, why)
    })
}

pub(crate) async fn open(
    adapter: &wgpu::Adapter,
    features: Features,
) -> Result<(wgpu::Device, wgpu::Queue)> {
    let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
    let (required_features, required_limits) = match features {
        Features::Full => (adapter.features() & USEFUL, adapter.limits()),
        Features::Experimental(token) => {
            experimental_features = token;
            let matrices = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            let useful = if token.is_enabled() { USEFUL | matrices } else { USEFUL };
            (adapter.features() & useful, adapter.limits())
        }
        Features::Baseline => (wgpu::Features::empty(), wgpu::Limits::default()),
    };
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("fewbytes"),
        required_features,
        required_limits,
        experimental_features,
        ..wgpu::DeviceDescriptor::default()
    };
    #[cfg(all(feature = "hostmem", not(target_arch = "wasm32")))]
    if features != Features::Baseline
        && let Some(opened) = crate::hostmem::open(adapter, &descriptor)
    {
        return Ok(opened);
    }
    let name = adapter.get_info().name;
    adapter.request_device(&descriptor).await.map_err(|e| Error::Validation {
        what: format!("device on {name}"),
        message: e.to_string(),
    })
}

/// A device's features and limits as the kernels see them.
pub(crate) fn caps(device: &wgpu::Device) -> Caps {
    let (features, limits, info) = (device.features(), device.limits(), device.adapter_info());
    let subgroups = features.contains(wgpu::Features::SUBGROUP);
    Caps {
        vendor: info.vendor,
        f16: features.contains(wgpu::Features::SHADER_F16),
        subgroups,
        subgroup_min: if subgroups { info.subgroup_min_size } else { 0 },
        subgroup_max: if subgroups { info.subgroup_max_size } else { 0 },
        matrices: Vec::new(),
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        max_buffer_bytes: limits.max_buffer_size,
        max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
        max_invocations: limits
            .max_compute_invocations_per_workgroup
            .min(limits.max_compute_workgroup_size_x),
        max_groups: limits.max_compute_workgroups_per_dimension,
        storage_alignment: limits.min_storage_buffer_offset_alignment,
    }
}

/// The products of cooperative matrices that shaders of a device may ask for.
pub(crate) fn matrices(adapter: &wgpu::Adapter, device: &wgpu::Device) -> Vec<MatrixShape> {
    if !device.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        return Vec::new();
    }
    let element = |scalar| match scalar {
        wgpu::CooperativeScalarType::F16 => MatrixElement::F16,
        wgpu::CooperativeScalarType::F32 => MatrixElement::F32,
        wgpu::CooperativeScalarType::I32 => MatrixElement::I32,
        wgpu::CooperativeScalarType::U32 => MatrixElement::U32,
    };
    let listed = adapter.cooperative_matrix_properties().into_iter();
    listed
        .map(|shape| MatrixShape {
            m: shape.m_size,
            n: shape.n_size,
            k: shape.k_size,
            input: element(shape.ab_type),
            output: element(shape.cr_type),
        })
        .collect()
}
