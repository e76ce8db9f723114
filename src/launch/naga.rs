//! Reading a launch with naga: validation with errors at part and line, the bindings as the
//! shader really declares them, and the text that each platform's compiler gets.

use super::{Access, Dialect, Launch, Needs};
use crate::{Error, Result};
use naga::back::{hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess};

/// The shader language of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Vulkan.
    SpirV,
    /// Metal.
    Msl,
    /// DX12.
    Hlsl,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SpirV, Self::Msl, Self::Hlsl];

    /// Why naga cannot write a shader with such needs there; `None` where it can.
    pub fn obstacle(self, needs: &Needs) -> Option<&'static str> {
        let without = self == Self::Hlsl && needs.matrix;
        without.then_some("naga writes no cooperative matrices in HLSL")
    }
}

/// A launch's shader, parsed and validated, with its override values applied.
pub struct Parsed {
    module: Module,
    info: ModuleInfo,
    needs: Needs,
    entry: &'static str,
}

impl Launch {
    /// Parses and validates the composed shader.
    ///
    /// # Errors
    /// [`Error::Shader`] with the authored file and its line.
    pub fn parse(&self) -> Result<Parsed> {
        let source = self.source(Dialect::Naga);
        let failed = |line: usize, message: String| {
            let (part, line) = source.locate(line);
            Error::Shader { part: part.to_owned(), line, message }
        };
        let module = naga::front::wgsl::parse_str(source.text()).map_err(|e| {
            let line = e.location(source.text()).map_or(1, |at| at.line_number as usize);
            failed(line, e.emit_to_string(source.text()))
        })?;
        // Unpacking f16 from words is core WGSL and needs no feature.
        let mut capabilities = Capabilities::default() | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        capabilities.set(Capabilities::SHADER_FLOAT16, self.needs.f16);
        capabilities.set(Capabilities::SUBGROUP, self.needs.subgroups);
        capabilities.set(Capabilities::COOPERATIVE_MATRIX, self.needs.matrix);
        let mut validator = Validator::new(ValidationFlags::all(), capabilities);
        let info = validator.validate(&module).map_err(|e| {
            let line = e.location(source.text()).map_or(1, |at| at.line_number as usize);
            failed(line, e.emit_to_string(source.text()))
        })?;
        let constants = self
            .shader
            .constants
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        let entry = self.shader.entry;
        let (module, info) =
            process_overrides(&module, &info, Some((ShaderStage::Compute, entry)), &constants)
                .map(|(module, info)| (module.into_owned(), info.into_owned()))
                .map_err(|e| failed(1, e.to_string()))?;
        Ok(Parsed { module, info, needs: self.needs, entry })
    }
}

impl Parsed {
    /// Number, name and access of every binding that the shader declares, by number.
    pub fn bindings(&self) -> Vec<(u32, String, Access)> {
        let mut found: Vec<_> = self
            .module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let access = match variable.space {
                    AddressSpace::Uniform => Access::Uniform,
                    AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                        Access::ReadWrite
                    }
                    AddressSpace::Storage { .. } => Access::Read,
                    _ => return None,
                };
                let number = variable.binding.as_ref()?.binding;
                Some((number, variable.name.clone().unwrap_or_default(), access))
            })
            .collect();
        found.sort_by_key(|(number, ..)| *number);
        found
    }

    /// Bytes of workgroup memory that the shader declares.
    pub fn workgroup_bytes(&self) -> u32 {
        let types = self.module.to_ctx();
        self.module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable)| self.module.types[variable.ty].inner.size(types))
            .sum()
    }

    /// The shader in a platform's language: words of SPIR-V as bytes, or text.
    ///
    /// # Errors
    /// [`Error::Shader`] when naga cannot express the shader there.
    pub fn translate(&self, target: Target) -> Result<Vec<u8>> {
        let failed = |message: String| Error::Shader {
            part: format!("{} as {target:?}", self.entry),
            line: 0,
            message,
        };
        if let Some(why) = target.obstacle(&self.needs) {
            return Err(failed(why.to_owned()));
        }
        let stage = ShaderStage::Compute;
        let entry = self.entry.to_owned();
        match target {
            Target::SpirV => {
                let options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
                let pipeline = spv::PipelineOptions { shader_stage: stage, entry_point: entry };
                spv::write_vec(&self.module, &self.info, &options, Some(&pipeline))
                    .map(|words| words.iter().flat_map(|word| word.to_le_bytes()).collect())
                    .map_err(|e| failed(e.to_string()))
            }
            Target::Msl => {
                let options = msl::Options { lang_version: (2, 4), ..msl::Options::default() };
                let pipeline = msl::PipelineOptions {
                    entry_point: Some((stage, entry)),
                    ..msl::PipelineOptions::default()
                };
                let text = msl::write_string(&self.module, &self.info, &options, &pipeline);
                text.map(|(text, _)| text.into_bytes()).map_err(|e| failed(e.to_string()))
            }
            Target::Hlsl => {
                let options = hlsl::Options {
                    shader_model: hlsl::ShaderModel::V6_2,
                    special_constants_binding: Some(hlsl::BindTarget::default()),
                    ..hlsl::Options::default()
                };
                let pipeline = hlsl::PipelineOptions { entry_point: Some((stage, entry)) };
                let mut text = String::new();
                hlsl::Writer::new(&mut text, &options, &pipeline)
                    .write(&self.module, &self.info, None)
                    .map_err(|e| failed(e.to_string()))?;
                Ok(text.into_bytes())
            }
        }
    }
}
