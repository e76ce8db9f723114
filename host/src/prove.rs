//! Running a case of the case table on a device.

use crate::{Arg, Context, View};
use fewbytes::proof::{Case, Measure, Mismatch, Tensor};
use fewbytes::{Error, Knobs, Result};

/// Whether a kernel did what its reference does.
pub type Verdict = std::result::Result<Measure, Mismatch>;

/// Runs a case twice, compares every output with the reference and the second run with the first.
///
/// # Errors
/// When the case could not be run at all; a wrong result is an `Ok(Err(mismatch))`.
pub fn prove(ctx: &Context, case: &dyn Case, knobs: &Knobs) -> Result<Verdict> {
    let proof = case.build(ctx.caps(), knobs)?;
    let plan = ctx.plan_launches(proof.launches)?;
    let tensors: Vec<(&Tensor, Vec<View>)> = proof
        .tensors
        .iter()
        .map(|tensor| {
            let views: Result<Vec<_>> =
                tensor.pieces.iter().map(|bytes| ctx.upload::<u8>(bytes)).collect();
            Ok((tensor, views?))
        })
        .collect::<Result<_>>()?;
    let args: Vec<_> =
        tensors.iter().map(|(tensor, pieces)| Arg { binding: tensor.binding, pieces }).collect();
    if proof.outputs.is_empty() {
        return Err(Error::shape("outputs of a proof", "at least one", "none"));
    }
    let mut first: Vec<Vec<u8>> = Vec::new();
    let mut measure = Measure::default();
    for run in 0..2 {
        for (index, output) in proof.outputs.iter().enumerate() {
            let missing = || Error::shape("tensors of a proof", "every output among them", "not");
            let (tensor, views) =
                tensors.iter().find(|(t, _)| t.binding == output.binding).ok_or_else(missing)?;
            let (bytes, view) = tensor.pieces.first().zip(views.first()).ok_or_else(missing)?;
            ctx.write(view, bytes)?;
            // All outputs are poisoned before the one submission that fills them.
            if index + 1 == proof.outputs.len() {
                ctx.submit(|pass| plan.record(pass, &args))?;
            }
        }
        for (index, output) in proof.outputs.iter().enumerate() {
            let views = tensors.iter().find(|(t, _)| t.binding == output.binding).map(|(_, v)| v);
            let Some(view) = views.and_then(|views| views.first()) else { continue };
            let bytes = ctx.block_on(ctx.read::<u8>(view))?;
            match first.get(index) {
                None => {
                    match output.verify(&bytes) {
                        Ok(found) => {
                            measure.relative = measure.relative.max(found.relative);
                            measure.of_tolerance = measure.of_tolerance.max(found.of_tolerance);
                        }
                        Err(mismatch) => return Ok(Err(mismatch)),
                    }
                    first.push(bytes);
                }
                Some(before) => {
                    if let Some(byte) = before.iter().zip(&bytes).position(|(a, b)| a != b) {
                        return Ok(Err(Mismatch::NotReproducible { run, byte }));
                    }
                }
            }
        }
    }
    Ok(Ok(measure))
}
