//! The command line of residuals.

use crate::calibration::Calibration;
use crate::fuse::Rule;
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use fewbytes::linear::ResidualElement;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The packed file: ours, of weights one by one or in pairs, or the published layout
    pub(crate) packed: PathBuf,
    /// The dense weights it was made of, a safetensors file
    pub(crate) weights: PathBuf,
    /// The file of residuals to write
    pub(crate) output: PathBuf,

    /// Only layers that match; may be repeated or take a list with commas
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) layers: Vec<String>,
    /// What a joined layer was made of, where its file does not say so, such as `qkv=q,k,v`; may be
    /// repeated
    #[arg(long, value_name = "NAME=A,B,..")]
    pub(crate) fuse: Vec<Rule>,
    /// Width of the packed layers that the residuals belong to: needed where a layer has several.
    /// Of weights in pairs, bits of a code for two
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) bits: Option<u8>,
    /// What an element of a residual is stored as
    #[arg(long, value_enum, default_value_t = Element::Int4)]
    pub(crate) element: Element,
    /// What goes into the layers: files, or folders of *.safetensors, for thresholds of selection by
    /// buckets. They are those of plain magnitudes `|x_i|`, not of weighted ones. May be repeated
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    pub(crate) activations: Vec<PathBuf>,
    /// Which of the activations go into which layers, such as `attn_in=q,k,v`, where names differ;
    /// a `*` in each name stands for the same text. May be repeated
    #[arg(long, value_name = "NAME=A,B,..")]
    pub(crate) inputs: Vec<Rule>,
    /// Store the norm of every channel, for selection by `|x_i|` times norm
    #[arg(long)]
    pub(crate) norms: bool,
    /// Replace an existing output
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Element {
    /// Codes of 4 bits and a scale an output
    Int4,
    /// Codes of 2 bits and a scale an output
    Int2,
    /// Codes of 8 bits and a scale an output
    Int8,
    /// The residual itself, rounded to f16
    F16,
}

impl Element {
    pub(crate) fn stored(self) -> ResidualElement {
        match self {
            Self::Int2 => ResidualElement::Int2,
            Self::Int4 => ResidualElement::Int4,
            Self::Int8 => ResidualElement::Int8,
            Self::F16 => ResidualElement::F16,
        }
    }
}

impl Options {
    /// Where thresholds come from. Sensitivities do not matter to them: one group is any file's.
    pub(super) fn calibration(&self) -> Result<Calibration> {
        let named = self.inputs.is_empty() || !self.activations.is_empty();
        ensure!(named, "--inputs names what is in --activations");
        let (activations, inputs) = (self.activations.clone(), self.inputs.clone());
        Ok(Calibration { activations, inputs, groups: Some(1), ..Calibration::default() })
    }
}
