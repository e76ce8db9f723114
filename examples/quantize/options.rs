//! The command line.

use crate::calibration::Calibration;
use crate::fuse::Rule;
use crate::lnq_options::LnqArgs;
use crate::residual;
use crate::select::Chosen;
use clap::{Args, Parser, Subcommand, ValueEnum};
use fewbytes::linear::{Method, QuantizeOptions, TableElement};
use std::path::PathBuf;

/// Quantize the matrices of a safetensors file to every width at once, or with --method lnq to one
/// width by what goes into each layer.
///
/// Every matrix (F32, F16 or BF16) becomes one packed layer: bit-planes, and a small table for
/// each row and width. A kernel then multiplies at any width from SEED_BITS to PARENT_BITS and
/// reads only the planes of that width. A layer is named like its tensor, without `.weight`.
///
/// LNQ makes the error at the output of each layer small instead of that of its weights. It needs
/// calibration inputs, or their Hessians: docs/hessian_file.md describes the files. A run that is
/// interrupted goes on where it was: finished layers lie in OUTPUT.parts until all are there.
///
/// Matrices with `embed` or `lm_head` in their names are left out unless --all is given.
#[derive(Debug, Parser)]
#[command(
    name = "quantize",
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "PATTERN: a part of a tensor's or layer's name, or with `*` and `?` all of it.\n\n\
        Examples:\n  \
        quantize model.safetensors packed.safetensors\n  \
        quantize model.safetensors small.safetensors --seed-bits 2 --parent-bits 4\n  \
        quantize model.safetensors mlp.safetensors --layers '*.mlp.*.weight'\n  \
        quantize model.safetensors fused.safetensors --fuse '*.gate_up=*.gate_proj,*.up_proj'\n  \
        quantize model.safetensors lnq.safetensors --method lnq --bits 2 --hessian h.safetensors\n  \
        quantize inspect packed.safetensors\n  \
        quantize eval-layer lnq.safetensors model.safetensors --hessian h.safetensors\n  \
        quantize residual packed.safetensors model.safetensors residual.safetensors --bits 3"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    quantize: Option<Quantize>,
    #[command(flatten)]
    lnq: LnqArgs,
}

impl Cli {
    /// The subcommand, or what to quantize.
    pub(crate) fn split(self) -> (Option<Command>, Option<Quantize>) {
        (self.command, self.quantize.map(|quantize| Quantize { lnq: self.lnq, ..quantize }))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a packed file (ours or the published layout) or a file of residuals and print what it
    /// holds
    Inspect {
        /// The file
        file: PathBuf,
    },
    /// Print the error at each layer's output, beside that of clusters of the weights
    ///
    /// The error is `(w - q)^T H (w - q)` over all rows, H being the layer's Hessian: what LNQ makes
    /// small. Clusters of the same width, weighted with the diagonal of H, are what LNQ starts from.
    EvalLayer(EvalLayer),
    /// Keep what quantizing took from each layer, to be given back where activations are large
    ///
    /// A residual is `W - Wq`, `Wq` being the weights that kernels decode from PACKED at one width.
    /// It is quantized itself, and belongs to that file and that width alone. docs/qdec.md says what
    /// it is for, docs/residual_file.md how it is stored.
    Residual(residual::Options),
}

#[derive(Debug, Args)]
pub(crate) struct EvalLayer {
    /// The packed file
    pub(crate) packed: PathBuf,
    /// Dense weights, a safetensors file
    pub(crate) weights: PathBuf,
    /// Only layers that match; may be repeated or take a list with commas
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) layers: Vec<String>,
    /// What a joined layer was made of, where its file does not say so, such as `qkv=q,k,v`; may be
    /// repeated
    #[arg(long, value_name = "NAME=A,B,..")]
    pub(crate) fuse: Vec<Rule>,
    /// Only this width [default: all that a layer has]
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) bits: Option<u8>,
    #[command(flatten)]
    pub(crate) calibration: Calibration,
}

#[derive(Debug, Args)]
pub(crate) struct Quantize {
    /// Dense weights, a safetensors file
    pub(crate) input: PathBuf,
    /// The packed file to write
    pub(crate) output: PathBuf,

    /// Quantize only matrices that match; may be repeated or take a list with commas
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', help_heading = "Which tensors")]
    pub(crate) layers: Vec<String>,
    /// Leave out matrices that match; wins over --layers
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', help_heading = "Which tensors")]
    pub(crate) exclude: Vec<String>,
    /// Also quantize embeddings and output heads (`embed`, `lm_head`)
    #[arg(long, help_heading = "Which tensors")]
    pub(crate) all: bool,
    /// Leave biases out. By default the vector `NAME.bias` goes with the matrix `NAME.weight`
    #[arg(long, help_heading = "Which tensors")]
    pub(crate) no_bias: bool,

    /// How codes and tables are found
    #[arg(long, value_enum, default_value_t = How::Exact, help_heading = "How")]
    pub(crate) method: How,
    /// Narrowest width, whose error is made as small as it can be; wider ones build on it
    /// [default: 3]
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=8), help_heading = "How")]
    pub(crate) seed_bits: Option<u8>,
    /// Widest width: the number of planes stored [default: 8]
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=8), help_heading = "How")]
    pub(crate) parent_bits: Option<u8>,
    /// Widths that get tables, such as `3,4,8` [default: all from seed to parent]
    #[arg(long, value_name = "BITS", value_delimiter = ',', help_heading = "How",
        value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) widths: Vec<u8>,
    /// Sensitivity of every weight: a safetensors file with the same names and shapes
    #[arg(long, value_name = "FILE", help_heading = "How")]
    pub(crate) sensitivities: Option<PathBuf>,

    /// Not flattened: whether all of this is there is seen from options of its own alone.
    #[arg(skip)]
    pub(crate) lnq: LnqArgs,

    /// Join layers with the same inputs into one, rows after rows, such as `qkv=q,k,v`
    ///
    /// One product then does the work of several. Names are those of layers; a `*` in each of
    /// them stands for the same text, so that one option serves every block of a model. The parts
    /// are not written by themselves. May be repeated.
    #[arg(long, value_name = "NAME=A,B,..", help_heading = "Output")]
    pub(crate) fuse: Vec<Rule>,
    /// Element type of the tables
    #[arg(long, value_enum, default_value_t = Table::F16, help_heading = "Output")]
    pub(crate) table: Table,
    /// Layers whose tables are f32 where the others' are f16: names, or patterns with `*` and `?`
    #[arg(long, value_name = "LAYER", value_delimiter = ',', help_heading = "Output")]
    pub(crate) f32_tables: Vec<String>,
    /// Layout of the output
    #[arg(long, value_enum, default_value_t = Format::Packed, help_heading = "Output")]
    pub(crate) format: Format,
    /// Replace an existing output
    #[arg(long, help_heading = "Output")]
    pub(crate) force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum How {
    /// Clusters of the weights with the least error at the narrowest width
    Exact,
    /// Clusters by Lloyd's steps: faster, some percent more error
    Fast,
    /// One width, by what goes into each layer: wants --hessian or --activations
    Lnq,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// 2 bytes an entry
    F16,
    /// 4 bytes an entry, for weights beyond 65504
    F32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Our format, which the kernels run from
    Packed,
    /// The tensors published with Any-Precision LLM: columns in multiples of 32, f16 tables
    Reference,
}

impl Table {
    pub(crate) fn element(self) -> TableElement {
        match self {
            Self::F16 => TableElement::F16,
            Self::F32 => TableElement::F32,
        }
    }
}

impl Quantize {
    fn seed_and_parent(&self) -> (u8, u8) {
        (self.seed_bits.unwrap_or(3), self.parent_bits.unwrap_or(8))
    }

    /// The quantizer's settings; that the widths fit each other is the library's check.
    pub(crate) fn settings(&self) -> QuantizeOptions {
        let (seed_bits, parent_bits) = self.seed_and_parent();
        let method = if self.method == How::Fast { Method::Fast } else { Method::Exact };
        QuantizeOptions { seed_bits, parent_bits, method, table: self.table.element() }
    }

    /// The element type of a layer's tables.
    pub(crate) fn table_of(&self, chosen: &Chosen) -> TableElement {
        let f32s = self.f32_tables.iter().any(|pattern| chosen.is_called(pattern));
        if f32s { TableElement::F32 } else { self.table.element() }
    }

    /// That options go with the method.
    pub(crate) fn check_method(&self) -> anyhow::Result<()> {
        if self.method != How::Lnq {
            if let Some(option) = self.lnq.given() {
                anyhow::bail!("{option} goes with --method lnq");
            }
            return Ok(());
        }
        let widths = [
            ("--seed-bits", self.seed_bits.is_some()),
            ("--parent-bits", self.parent_bits.is_some()),
            ("--widths", !self.widths.is_empty()),
        ];
        if let Some((option, _)) = widths.iter().find(|(_, given)| *given) {
            anyhow::bail!("{option} does not go with --method lnq, which has one width: --bits");
        }
        self.lnq.check()?;
        self.lnq.place().check(&self.lnq.settings(self.table.element()))
    }

    /// The widths that get tables, ascending.
    pub(crate) fn shipped(&self) -> anyhow::Result<Vec<u8>> {
        if self.method == How::Lnq {
            return Ok(vec![self.lnq.bits()]);
        }
        let (seed, parent) = self.seed_and_parent();
        anyhow::ensure!(seed <= parent, "--seed-bits {seed} is above --parent-bits {parent}");
        if self.widths.is_empty() {
            return Ok((seed..=parent).collect());
        }
        let mut widths = self.widths.clone();
        widths.sort_unstable();
        widths.dedup();
        if let Some(b) = widths.iter().find(|b| !(seed..=parent).contains(b)) {
            anyhow::bail!("--widths {b} is outside {seed}..={parent} (--seed-bits, --parent-bits)");
        }
        // Planes that no width reads would be dead weight in the file.
        let widest = widths.last().copied().unwrap_or(parent);
        anyhow::ensure!(
            widest == parent,
            "no width in --widths uses the planes above {widest}; add --parent-bits {widest}"
        );
        Ok(widths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Quantize {
        let all = ["quantize", "in", "out"].iter().chain(arguments);
        Cli::try_parse_from(all).unwrap().split().1.unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let inspect = Cli::try_parse_from(["quantize", "inspect", "file"]).unwrap();
        assert!(matches!(inspect.command, Some(Command::Inspect { .. })));
        assert!(Cli::try_parse_from(["quantize"]).is_err());
        assert!(Cli::try_parse_from(["quantize", "in"]).is_err());
    }

    #[test]
    fn widths_lie_between_seed_and_parent_and_use_every_plane() {
        assert_eq!(parse(&[]).shipped().unwrap(), [3, 4, 5, 6, 7, 8]);
        assert_eq!(parse(&["--widths", "8,4,4"]).shipped().unwrap(), [4, 8]);
        let message = |arguments: &[&str]| parse(arguments).shipped().unwrap_err().to_string();
        assert!(message(&["--widths", "2,8"]).contains("outside 3..=8"));
        assert!(message(&["--widths", "3,4"]).contains("--parent-bits 4"));
        assert!(message(&["--seed-bits", "5", "--parent-bits", "4"]).contains("above"));
        assert_eq!(parse(&["--method", "lnq", "--bits", "2"]).shipped().unwrap(), [2]);
    }

    #[test]
    fn options_that_do_not_go_with_the_method_are_named() {
        let error = |arguments: &[&str]| parse(arguments).check_method().unwrap_err().to_string();
        let lnq = |more: &[&str]| error(&[&["--method", "lnq"], more].concat());
        assert_eq!(error(&["--bits", "2"]), "--bits goes with --method lnq");
        assert_eq!(error(&["--hessian", "h"]), "--hessian goes with --method lnq");
        assert!(lnq(&["--hessian", "h", "--widths", "3"]).contains("--widths does not go"));
        assert!(lnq(&["--hessian", "h", "--seed-bits", "3"]).contains("one width: --bits"));
        assert!(lnq(&[]).contains("--hessian or --activations"));
        assert!(lnq(&["--hessian", "h", "--inputs", "a=b"]).contains("--inputs"));
        assert_eq!(error(&["--device", "gpu"]), "--device goes with --method lnq");
        assert_eq!(error(&["--method", "fast", "--device", "cpu"]), error(&["--device", "cpu"]));
        parse(&["--method", "lnq", "--activations", "a", "--inputs", "x=q,k"])
            .check_method()
            .unwrap();
        parse(&["--method", "fast"]).check_method().unwrap();
        let both = ["quantize", "in", "out", "--activations", "a", "--hessian", "h"];
        assert!(Cli::try_parse_from(both).is_err());
    }
}
