//! What is printed of residuals that were made.

use super::jobs::Job;
use crate::report;
use fewbytes::linear::{ResidualElement, ResidualLayer, ResidualReport};

/// What became of a layer.
pub(super) struct Account {
    layer: String,
    shape: String,
    bits: u8,
    /// Bytes of all channels, of one, and of the scales.
    channels: u64,
    channel: u64,
    scales: u64,
    report: ResidualReport,
    /// Tokens that thresholds were calibrated with.
    tokens: Option<usize>,
}

impl Account {
    pub(super) fn new(
        job: &Job<'_>,
        residual: &ResidualLayer,
        report: ResidualReport,
        tokens: Option<usize>,
    ) -> Self {
        let layout = residual.layout();
        Self {
            layer: job.layer.name.clone(),
            shape: format!("{} x {}", layout.rows(), layout.cols()),
            bits: job.bits,
            channels: layout.bytes(),
            channel: layout.bytes_of(1),
            scales: 2 * residual.scales().len() as u64,
            report,
            tokens,
        }
    }
}

/// A line a layer, and what all of them take.
pub(super) fn print(element: ResidualElement, accounts: &[&Account]) {
    println!(
        "residuals of {}; relative error of the weights in percent, packed alone and with all of the \
         residual:\n",
        element.name()
    );
    let titles = ["layer", "shape", "bits", "bytes", "a channel", "packed", "with", "clipped"];
    let mut header: Vec<String> = titles.map(String::from).to_vec();
    let calibrated = accounts.iter().any(|account| account.tokens.is_some());
    header.extend(calibrated.then(|| "tokens".to_owned()));
    let mut table = report::table(header, 2);
    for account in accounts {
        let ResidualReport { before, after, clipped, .. } = account.report;
        let mut row = vec![
            account.layer.clone(),
            account.shape.clone(),
            account.bits.to_string(),
            account.channels.to_string(),
            account.channel.to_string(),
            format!("{:.3}", 100.0 * before.relative),
            format!("{:.3}", 100.0 * after.relative),
            format!("{:.2} %", 100.0 * clipped),
        ];
        row.extend(account.tokens.map(|tokens| tokens.to_string()));
        table.add_row(row);
    }
    println!("{}", table.trim_fmt());
    let sum = |bytes: fn(&&Account) -> u64| report::size(accounts.iter().map(bytes).sum());
    println!(
        "\n{}: {} of host memory for the channels, {} of scales",
        report::count(accounts.len(), "layer"),
        sum(|account| account.channels),
        sum(|account| account.scales),
    );
    let rows: usize = accounts.iter().map(|account| account.report.underflown_rows).sum();
    if rows > 0 {
        let rows = report::count(rows, "output");
        println!("nothing is given back to {rows}: what they lost is too little for f16");
    }
}
