//! The options of `--method lnq`.

use crate::calibration::Calibration;
use crate::device::Place;
use clap::{Args, ValueEnum};
use fewbytes::linear::{LabelStep, LnqOptions, Method, TableElement};

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "With --method lnq")]
pub(crate) struct LnqArgs {
    #[command(flatten)]
    pub(crate) calibration: Calibration,
    /// The one width of codes [default: 3]
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=8))]
    bits: Option<u8>,
    /// How often tables and then labels are improved [default: 2]
    #[arg(long, value_name = "N")]
    iterations: Option<usize>,
    /// Cycles of coordinate descent in every iteration, at least 1 [default: 4]
    #[arg(long, value_name = "N")]
    cycles: Option<usize>,
    /// How labels are found for a table [default: descent]
    #[arg(long, value_enum)]
    labels: Option<Labels>,
    /// How the clusters to start from are found [default: exact]
    #[arg(long, value_enum)]
    start: Option<Start>,
    /// One more cycle of descent once tables are rounded: a little less error
    #[arg(long)]
    final_cycle: bool,
    /// Where the work is done [default: cpu]
    #[arg(long, value_enum)]
    device: Option<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Labels {
    /// Coordinate descent: each input in turn takes the best entry
    Descent,
    /// Once through the inputs, errors made up for by later ones, as in GPTQ: mostly worse
    Feedback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Start {
    /// The least error
    Exact,
    /// Lloyd's steps
    Fast,
}

impl LnqArgs {
    /// The first option that was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let all = [
            ("--bits", self.bits.is_some()),
            ("--iterations", self.iterations.is_some()),
            ("--cycles", self.cycles.is_some()),
            ("--labels", self.labels.is_some()),
            ("--start", self.start.is_some()),
            ("--final-cycle", self.final_cycle),
            ("--device", self.device.is_some()),
        ];
        let own = all.into_iter().find_map(|(option, given)| given.then_some(option));
        own.or_else(|| self.calibration.given())
    }

    pub(crate) fn bits(&self) -> u8 {
        self.bits.unwrap_or(LnqOptions::default().bits)
    }

    pub(crate) fn place(&self) -> Place {
        self.device.unwrap_or_default()
    }

    pub(crate) fn settings(&self, table: TableElement) -> LnqOptions {
        let default = LnqOptions::default();
        LnqOptions {
            bits: self.bits(),
            iterations: self.iterations.unwrap_or(default.iterations),
            cycles: self.cycles.unwrap_or(default.cycles),
            labels: match self.labels {
                Some(Labels::Feedback) => LabelStep::Feedback,
                _ => LabelStep::Descent,
            },
            start: match self.start {
                Some(Start::Fast) => Method::Fast,
                _ => Method::Exact,
            },
            table,
            final_cycle: self.final_cycle,
            ..default
        }
    }
}
