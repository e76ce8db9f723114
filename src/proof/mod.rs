//! Proving kernels: one table of cases drives the tests, the doctor and other engines.
//!
//! A [`Case`] builds a [`Proof`] for a device: launches, the bytes of every tensor (outputs full of
//! NaN, memory that must not be read full of garbage) and what has to come out, from the scalar
//! reference. Whoever can run a launch can run a proof; nothing here knows a GPU API.

mod add;
mod append_kv;
mod attend_rows;
mod attend_scored;
mod bitplane;
mod build_index;
mod check;
mod compensate;
mod component_scores;
mod decode_merge;
mod decode_split;
mod dequantize_bitplane;
mod dequantize_vector;
mod gather_kv;
mod gemm;
mod gemm_bitplane;
mod gemv_bitplane;
mod gemv_vector;
mod greedy;
mod growing;
mod hessian_update;
mod key_columns;
mod list_pairs;
mod list_rows;
mod listed;
mod lnq;
mod lnq_descent;
mod lnq_gram;
mod lnq_objective;
mod lnq_product;
mod lnq_table;
mod matmul_bitplane;
mod merge_columns;
mod prefill;
mod products;
mod row_sums;
mod score_lse;
mod score_max;
mod score_rows;
mod select_channels;
mod select_pairs;
mod sort_columns;
mod stream;
mod sum_slices;
mod tiles;
mod top_rows;
mod vector;

pub use check::{Expected, Measure, Mismatch};

use crate::Result;
use crate::launch::{Caps, Knobs, Launch};

/// Extra bytes behind every output, which must come back unchanged.
pub const CANARY_BYTES: usize = 256;
/// The bytes that outputs hold beforehand: NaN as f32 and as f16, with a payload that arithmetic
/// does not make, so that an output that has to be NaN has to be written all the same.
pub const POISON: u8 = 0xff;

/// One row of a kernel's case table.
pub trait Case: Send + Sync {
    /// The kernel's name.
    fn kernel(&self) -> &'static str;

    /// What is special about this case.
    fn name(&self) -> String;

    /// The variants to prove on such a device: name and knobs.
    fn variants(&self, caps: &Caps) -> Vec<(&'static str, Knobs)>;

    /// Inputs, launches and the expected outputs.
    ///
    /// # Errors
    /// When the case cannot be described on such a device, which is a finding in itself.
    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof>;
}

/// Everything needed to run a case once and judge it.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The launches, in order.
    pub launches: Vec<Launch>,
    /// Every tensor by binding number, outputs included.
    pub tensors: Vec<Tensor>,
    /// What has to come out.
    pub outputs: Vec<Output>,
}

/// The initial bytes of a tensor, one buffer a piece.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// The binding's number.
    pub binding: u32,
    /// Bytes of each piece.
    pub pieces: Vec<Vec<u8>>,
}

/// What a tensor has to hold afterwards.
#[derive(Debug, Clone)]
pub struct Output {
    /// The binding's number.
    pub binding: u32,
    /// The contents of all pieces, one after another, without the canary behind each.
    pub expected: Expected,
}

impl Tensor {
    fn input(binding: u32, bytes: Vec<u8>) -> Self {
        Self { binding, pieces: vec![bytes] }
    }

    /// An output of `bytes` bytes, poisoned, with the canary behind it.
    fn output(binding: u32, bytes: usize) -> Self {
        Self::input(binding, vec![POISON; bytes.next_multiple_of(4) + CANARY_BYTES])
    }
}

impl Output {
    /// Judges the bytes that came back, piece by piece, the canary behind each included.
    ///
    /// # Errors
    /// [`Mismatch`] at the first wrong element.
    pub fn verify(&self, pieces: &[Vec<u8>]) -> Result<Measure, Mismatch> {
        let mut all = Vec::new();
        for piece in pieces {
            let (contents, canary) = piece.split_at(piece.len().saturating_sub(CANARY_BYTES));
            all.extend_from_slice(contents);
            if let Some(at) = canary.iter().position(|&byte| byte != POISON) {
                return Err(Mismatch::Overrun { byte: all.len() + at });
            }
        }
        self.expected.verify(&all)
    }
}

/// Every case of every kernel.
///
/// No case accepts outputs that nobody wrote.
pub fn cases() -> Vec<Box<dyn Case>> {
    let mut all: Vec<Box<dyn Case>> = Vec::new();
    all.extend(gemv_bitplane::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(gemv_vector::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(gemm_bitplane::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(gemm::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(matmul_bitplane::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(sum_slices::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(dequantize_bitplane::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(dequantize_vector::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(hessian_update::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(lnq_product::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(lnq_descent::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(lnq_gram::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(lnq_table::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(lnq_objective::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(select_channels::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(compensate::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(add::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(decode_split::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(attend_rows::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(attend_scored::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(decode_merge::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(prefill::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(score_lse::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(score_max::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(append_kv::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(gather_kv::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(select_pairs::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(list_pairs::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(greedy::run_cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(greedy::hit_cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(component_scores::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(list_rows::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(key_columns::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(row_sums::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(sort_columns::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(merge_columns::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(build_index::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(top_rows::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(score_rows::cases().into_iter().map(|case| Box::new(case) as _));
    all.extend(stream::cases().into_iter().map(|case| Box::new(case) as _));
    all
}
