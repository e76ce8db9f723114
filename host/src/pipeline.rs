//! Compiled launches, remembered by key.

use crate::module::{self, Checks, DIALECT};
use crate::scope::Guarded;
use fewbytes::launch::{Access, Binding, Launch, Source};
use fewbytes::{Error, Result};
use futures::FutureExt as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A compiled launch and the layout of its bindings.
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// Every pipeline that a context has made.
#[derive(Default)]
pub(crate) struct Pipelines {
    by_key: Mutex<HashMap<u64, Arc<Slot>>>,
    /// Where the driver keeps what it compiled, to be saved.
    cache: Option<wgpu::PipelineCache>,
}

/// Where one pipeline is, or will be.
#[derive(Default)]
struct Slot {
    made: OnceLock<Arc<Pipeline>>,
    /// Held while compiling: two threads that want one pipeline compile it once, and those that
    /// want different ones do not wait for each other.
    compiling: Mutex<()>,
}

impl Pipelines {
    pub(crate) fn new(cache: Option<wgpu::PipelineCache>) -> Self {
        Self { by_key: Mutex::default(), cache }
    }

    pub(crate) fn cache(&self) -> Option<&wgpu::PipelineCache> {
        self.cache.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        let by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        by_key.values().filter(|slot| slot.made.get().is_some()).count()
    }

    pub(crate) fn clear(&self) {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The launch's pipeline, compiled now if nobody asked for it before.
    pub(crate) fn get(
        &self,
        guarded: &Guarded,
        launch: &Launch,
        checks: Checks,
    ) -> Result<Arc<Pipeline>> {
        let key = launch.key();
        let slot = {
            let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(by_key.entry(key).or_default())
        };
        if let Some(found) = slot.made.get() {
            return Ok(Arc::clone(found));
        }
        let _compiling = slot.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = slot.made.get() {
            return Ok(Arc::clone(found));
        }
        log::debug!("compiling {} {} as {key:016x}", launch.kernel(), launch.variant());
        let made = Arc::new(compile(guarded, launch, checks, self.cache())?);
        Ok(Arc::clone(slot.made.get_or_init(|| made)))
    }
}

fn compile(
    guarded: &Guarded,
    launch: &Launch,
    checks: Checks,
    cache: Option<&wgpu::PipelineCache>,
) -> Result<Pipeline> {
    let name = launch.kernel();
    let mut info = None;
    let module = guarded.scoped(format!("shader of {name}"), |device| {
        let module = module::create(device, launch, checks);
        info = module.get_compilation_info().now_or_never();
        module
    });
    let module = module.map_err(|error| {
        let messages = info.map(|info| info.messages).unwrap_or_default();
        shader_error(&messages, &launch.source(DIALECT)).unwrap_or(error)
    })?;
    guarded.scoped(format!("pipeline of {name}"), |device| {
        let entries: Vec<_> = launch.bindings().iter().map(entry).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(name),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(name),
            bind_group_layouts: &[Some(&layout)],
            ..wgpu::PipelineLayoutDescriptor::default()
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(launch.shader().entry()),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: launch.shader().constants(),
                // Kernels write what they read there; the proofs run with this off.
                zero_initialize_workgroup_memory: checks.zeroed,
            },
            cache,
        });
        Pipeline { pipeline, layout }
    })
}

pub(crate) fn entry(binding: &Binding) -> wgpu::BindGroupLayoutEntry {
    let ty = match binding.access {
        Access::Uniform => wgpu::BufferBindingType::Uniform,
        Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
        Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
    };
    wgpu::BindGroupLayoutEntry {
        binding: binding.number,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}

/// The compiler's first error, at the authored file and its line.
fn shader_error(messages: &[wgpu::CompilationMessage], source: &Source) -> Option<Error> {
    let message =
        messages.iter().find(|m| m.message_type == wgpu::CompilationMessageType::Error)?;
    let line = message.location.map_or(1, |at| at.line_number as usize);
    let (part, line) = source.locate(line);
    Some(Error::Shader { part: part.to_owned(), line, message: message.message.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fewbytes::Spec as _;
    use fewbytes::launch::{Caps, Knobs};
    use fewbytes::linear::{BitplaneLayout, BitplaneShape, GemvBitplane, TableElement};

    #[test]
    fn a_compilers_complaint_names_the_authored_file_and_line() {
        let caps = Caps::webgpu();
        let shape = BitplaneShape { rows: 4, cols: 64, seed_bits: 2, parent_bits: 8 };
        let layout =
            BitplaneLayout::for_shape(shape, &[4], TableElement::F16, false, 4, &caps).unwrap();
        let launches = GemvBitplane::new(layout, 4).launches(&caps, &Knobs::baseline()).unwrap();
        let source = launches[0].source(DIALECT);
        let at = source.text().lines().position(|l| l.starts_with("fn gemv_bitplane(")).unwrap();
        let complaint = |message_type, line_number| wgpu::CompilationMessage {
            message: "no such thing".to_owned(),
            message_type,
            location: Some(wgpu::SourceLocation {
                line_number,
                line_position: 1,
                offset: 0,
                length: 1,
            }),
        };
        let messages = [
            complaint(wgpu::CompilationMessageType::Warning, 1),
            complaint(wgpu::CompilationMessageType::Error, at as u32 + 1),
        ];
        let Some(Error::Shader { part, line, message }) = shader_error(&messages, &source) else {
            panic!("no shader error");
        };
        assert_eq!(
            (part.as_str(), message.as_str()),
            ("linear/gemv_bitplane.wgsl", "no such thing")
        );
        let file = include_str!("../../shaders/linear/gemv_bitplane.wgsl");
        assert!(file.lines().nth(line - 1).unwrap().starts_with("fn gemv_bitplane("));
        assert!(shader_error(&messages[..1], &source).is_none());
    }
}
