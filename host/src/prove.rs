//! Running a case of the case table on a device.

use crate::{Arg, Context, View};
use fewbytes::proof::{Case, Measure, Mismatch, POISON, Tensor};
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
    let outputs = proof.outputs.iter().map(|output| {
        let tensor = tensors.iter().find(|(tensor, _)| tensor.binding == output.binding);
        let missing = || Error::shape("tensors of a proof", "every output among them", "not");
        tensor.map(|(tensor, views)| (output, tensor, views)).ok_or_else(missing)
    });
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    // Poisoned before every run: nothing may be read there that the launches did not write.
    let needed = usize::try_from(plan.scratch_bytes()).unwrap_or(usize::MAX);
    let scratch = if needed > 0 { Some(ctx.alloc::<u8>(needed)?) } else { None };
    let bound = plan.bind(&args, scratch.as_ref())?;
    let run = || -> Result<Vec<Vec<Vec<u8>>>> {
        for (_, poison, views) in &outputs {
            for (poison, view) in poison.pieces.iter().zip(*views) {
                ctx.write(view, poison)?;
            }
        }
        if let Some(scratch) = &scratch {
            ctx.write(scratch, &vec![POISON; needed])?;
        }
        ctx.submit(|pass| bound.record(pass))?;
        let read = |view: &View| ctx.block_on(ctx.read::<u8>(view));
        let pieces = |views: &[View]| views.iter().map(read).collect::<Result<Vec<_>>>();
        outputs.iter().map(|(.., views)| pieces(views)).collect()
    };

    let first = run()?;
    let mut measure = Measure::default();
    for ((output, ..), pieces) in outputs.iter().zip(&first) {
        match output.verify(pieces) {
            Ok(found) => {
                measure.relative = measure.relative.max(found.relative);
                measure.of_tolerance = measure.of_tolerance.max(found.of_tolerance);
            }
            Err(mismatch) => return Ok(Err(mismatch)),
        }
    }
    for (before, after) in first.iter().zip(&run()?) {
        let (before, after) = (before.concat(), after.concat());
        if let Some(byte) = before.iter().zip(&after).position(|(a, b)| a != b) {
            return Ok(Err(Mismatch::NotReproducible { run: 1, byte }));
        }
    }
    Ok(Ok(measure))
}
