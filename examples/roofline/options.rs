//! The command line.

use clap::{Parser, ValueEnum};
use fewbytes_wgpu::measure::Order;
use std::path::PathBuf;

/// Measures every kernel on this machine, against a plain reading of its memory.
///
/// First a buffer as large as one binding allows is read and copied; then every row is timed with
/// tensors that rotate past the cache. GB/s are the bytes that the work needs, whatever the kernel
/// moves, so 100 % of the stream is as fast as memory can be, and results that the cache helps can
/// be above.
#[derive(Debug, Parser)]
#[command(name = "roofline")]
#[command(
    after_help = "Exit code 0: all measured. 1: something could not be measured or written. \
    2: wrong command line, no such adapter or row, or a file to compare with that cannot be used. \
    3: no adapter."
)]
pub(crate) struct Cli {
    /// Adapter or driver whose name contains this [default: FEWBYTES_ADAPTER, else the best one]
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    adapter: Option<String>,
    /// Every adapter of this machine
    #[arg(long)]
    pub(crate) all: bool,
    /// Fewer shapes and widths, shorter passes: under a minute on a GPU, where all takes about three
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only rows whose name, as --list shows it, contains this; may repeat, all must match
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Vec<String>,
    /// What successive dispatches wait for
    #[arg(long, value_enum, default_value_t = Orders::Chain)]
    pub(crate) order: Orders,
    /// MiB to touch between two uses of the same memory [default: 256; 64 where a CPU plays the GPU]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub(crate) past_cache: Option<u64>,
    /// Adds every row with the shaders' bounds checks off
    #[arg(long)]
    pub(crate) unchecked: bool,
    /// Adds rows that differ from the kernel's choices in one thing, and what each costs, to --quick;
    /// they are in a full run anyhow
    #[arg(long)]
    pub(crate) forms: bool,
    /// Uses cooperative matrices where the adapter lists them, and adds the same rows without: wgpu
    /// calls them experimental and does not vouch for what a bug there does
    #[arg(long)]
    pub(crate) experimental: bool,
    /// Shows published times of other kernels whatever the adapter, not only on the one they are of
    #[arg(long)]
    pub(crate) published: bool,
    /// Writes the figures here
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draws the figures here
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Shows these older figures, from --json, beside the new ones
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Option<PathBuf>,
    /// Looks for the fastest knobs of every row first and measures it with them
    ///
    /// Of the variants of a row only the fastest is then measured. Takes long: about half a second to
    /// two seconds for each candidate, after 1.5 s of load on a GPU for each row: a product of one
    /// vector has some 55, one of many about 90, and with cooperative matrices about 150. --filter picks rows, --quick times every candidate once and shortly.
    #[arg(long)]
    pub(crate) tune: bool,
    /// Adds what --tune finds to this file, which programs can load as a `TuneCache`
    #[arg(long, value_name = "FILE", requires = "tune")]
    pub(crate) save_cache: Option<PathBuf>,
    /// Measures how many residual channels products can be compensated by beside them, instead of rows:
    /// slowdown by channels, the knee, and what the model of memory and link says. --svg draws the
    /// curves, --filter picks layers
    #[arg(long, conflicts_with_all = ["tune", "compare", "list", "forms", "published"])]
    pub(crate) qdec: bool,
    /// Measures decode attention over ragged caches instead of rows: microseconds and share of the read
    /// stream by heads, context, kept ratio, raggedness and element. --filter picks shapes, --quick takes
    /// fewer
    #[arg(long, conflicts_with_all = ["tune", "compare", "list", "forms", "published", "qdec", "svg"])]
    pub(crate) attention: bool,
    /// Measures the selection of a cache's pairs by their scores instead of rows: microseconds, share of the
    /// read stream and readings of the scores, by scores and what has a budget. --filter picks shapes,
    /// --quick takes fewer
    #[arg(long, conflicts_with_all = ["tune", "compare", "list", "forms", "published", "qdec", "svg",
        "attention"])]
    pub(crate) selection: bool,
    /// Measures the attention of many new tokens, and the passes that score a chunk of a cache, instead of
    /// rows: microseconds and operations by context and element, with --experimental by cooperative
    /// matrices too. --filter picks elements, --quick takes fewer samples
    #[arg(long, conflicts_with_all = ["tune", "compare", "list", "forms", "published", "qdec", "svg",
        "attention", "selection"])]
    pub(crate) prefill: bool,
    /// Measures attention to few rows of a cache, found by components, exact top-k or a greedy search, beside
    /// attention to all of them, instead of rows: microseconds, bytes and what each launch takes. --filter
    /// picks by shape, batch, context and mode ("8x4x128 b1 65536 components 32"), --quick takes fewer
    #[arg(long, conflicts_with_all = ["tune", "compare", "list", "forms", "published", "qdec", "svg",
        "attention", "selection", "prefill"])]
    pub(crate) sparse: bool,
    /// Names the rows and stops
    #[arg(long)]
    pub(crate) list: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Orders {
    /// Each for the one before, as layers do
    Chain,
    /// For nothing: they may overlap
    Independent,
    /// Rows of both kinds
    Both,
}

impl Orders {
    pub(crate) fn orders(self) -> Vec<Order> {
        match self {
            Self::Chain => vec![Order::Chain],
            Self::Independent => vec![Order::Independent],
            Self::Both => vec![Order::Chain, Order::Independent],
        }
    }
}

impl Cli {
    /// Part of the wanted adapter's name; nothing fits all.
    pub(crate) fn wanted_adapter(&self) -> String {
        let named = self.adapter.clone();
        named.or_else(|| std::env::var("FEWBYTES_ADAPTER").ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
        let cli =
            Cli::parse_from(["roofline", "--filter", "gemv", "--filter", "4 bits", "--quick"]);
        assert_eq!(cli.filter, ["gemv", "4 bits"]);
        assert_eq!(cli.order.orders(), [Order::Chain]);
        assert!(Cli::try_parse_from(["roofline", "--all", "--adapter", "x"]).is_err());
        assert!(Cli::try_parse_from(["roofline", "--save-cache", "x"]).is_err());
    }
}
