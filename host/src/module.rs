//! Shader modules, trusted because they are ours.

use fewbytes::launch::{Dialect, Launch};

/// Run-time checks in the shaders of one context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checks {
    /// Accesses out of bounds are harmless. Off after the caller of
    /// [`crate::Context::trust_sizes`] vouched for every binding.
    pub(crate) bounds: bool,
    /// Loops are counted and end at last. Off: those of this project are known to end.
    pub(crate) loops: bool,
    /// Workgroup memory begins as zeros. Off: kernels write what they read there.
    pub(crate) zeroed: bool,
}

impl Default for Checks {
    fn default() -> Self {
        Self { bounds: true, loops: false, zeroed: false }
    }
}

/// Front end that reads the shaders on this platform.
pub(crate) const DIALECT: Dialect =
    if cfg!(target_arch = "wasm32") { Dialect::Standard } else { Dialect::Naga };

/// Makes the module of a launch.
#[allow(unsafe_code)]
pub(crate) fn create(device: &wgpu::Device, launch: &Launch, checks: Checks) -> wgpu::ShaderModule {
    let text = launch.wgsl(DIALECT);
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(launch.kernel()),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    };
    let runtime = match checks.bounds {
        true => wgpu::ShaderRuntimeChecks::checked(),
        false => wgpu::ShaderRuntimeChecks::unchecked(),
    };
    let runtime = wgpu::ShaderRuntimeChecks { force_loop_bounding: checks.loops, ..runtime };
    // SAFETY: a `Launch` can only be made by a spec of `fewbytes` and cannot be altered, so the
    // text is one of that crate's own. Every loop in it counts up to a bound that the spec
    // validated, so the loop guard is not needed; the catalogue and case table prove all of them
    // with the guard off. Without bounds checks, what is bound must be as large as the operands
    // say, which `Plan::bind` checks, and stay alive, for which the caller of `trust_sizes`
    // vouches; codes are masked to their width before they index a table.
    unsafe { device.create_shader_module_trusted(descriptor, runtime) }
}
