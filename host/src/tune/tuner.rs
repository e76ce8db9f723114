//! Timing the candidates.

use super::options::TuneOptions;
use super::survey::{Surveyed, survey};
use super::{TuneCache, TuneEntry};
use crate::measure::{self, Budget, Operands, Probe, Timing};
use crate::{Context, Error, Result};
use fewbytes::launch::Traffic;
use fewbytes::{Knobs, Launch, Spec};

/// What became of one candidate.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was timed; where that was done several times, because the first did not settle or it was
    /// among the closest, this is the last time. Not settled is also what was timed at a lower clock
    /// than the device reached afterwards.
    Timed(Timing),
    /// The spec refuses these knobs on this device, for this reason.
    Refused(String),
    /// Its launches are those of an earlier candidate, at this place of [`Tuned::tried`].
    SameAs(usize),
    /// Its largest launch has only so many workgroups, see [`TuneOptions::min_groups`].
    TooFewGroups(u64),
    /// An earlier candidate was already as fast as the bound allows.
    NotNeeded,
    /// It could not be compiled or run, for this reason.
    Failed(String),
}

/// One candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The candidate.
    pub knobs: Knobs,
    /// What became of it.
    pub outcome: Outcome,
}

impl Trial {
    /// Its time, where it was timed.
    pub fn timing(&self) -> Option<&Timing> {
        match &self.outcome {
            Outcome::Timed(timing) => Some(timing),
            _ => None,
        }
    }
}

/// The outcome of tuning one spec on one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// The fastest candidate among those whose times settled; where none did, the fastest of all.
    pub knobs: Knobs,
    /// Its time: of all of the spec's launches together. Not to be relied on where
    /// [`Timing::settled`] is false.
    pub timing: Timing,
    /// Every candidate, in the spec's order; the defaults come first.
    pub tried: Vec<Trial>,
    /// Needed bytes and operations of the spec.
    pub traffic: Traffic,
    /// The least nanoseconds that the caller's [`super::Roof`] allows.
    pub bound_ns: Option<f64>,
}

impl Tuned {
    /// What to remember of this; nothing where the time did not settle, since another candidate may
    /// well be faster.
    ///
    /// # Errors
    /// As [`TuneEntry::new`].
    pub fn entry(&self, ctx: &Context, spec: &(impl Spec + ?Sized)) -> Result<Option<TuneEntry>> {
        let seconds = self.timing.dispatch_ns.median * 1e-9;
        let entry = || TuneEntry::new(ctx, spec, self.knobs, seconds);
        self.timing.settled.then(entry).transpose()
    }
}

impl TuneCache {
    /// Remembers the outcome of tuning, in place of an earlier one, and says whether it did: where
    /// the time did not settle ([`Timing::settled`]) the cache stays as it was.
    ///
    /// # Errors
    /// As [`TuneEntry::new`].
    pub fn remember(
        &mut self,
        ctx: &Context,
        spec: &(impl Spec + ?Sized),
        tuned: &Tuned,
    ) -> Result<bool> {
        let Some(entry) = tuned.entry(ctx, spec)? else {
            log::info!("{}: not remembered, its time did not settle", spec.kernel());
            return Ok(false);
        };
        self.insert(entry).map(|()| true)
    }
}

impl Context {
    /// Times the candidates of a spec on this device and gives the fastest. Blocks; nothing else in
    /// this crate ever times anything.
    ///
    /// That takes a while: a GPU is kept busy for 1.5 s first, so that its clock rises; every
    /// candidate is compiled; each then takes 0.3 to 2 s, the closest ones 0.5 to 5 s once more, and
    /// those whose time did not settle as long again. A product of
    /// [`gemv_bitplane`](fewbytes::linear::gemv_bitplane) has some 55 candidates, of which most
    /// devices can run most: allow a minute or two.
    ///
    /// Tensors are made up, in as many copies as it takes to get past the cache, within the
    /// memory of [`TuneOptions::budget`] (6 GiB on a GPU, 1 GiB where the adapter is a CPU, or one
    /// copy where that is larger), and freed at the end. Specs whose inputs have to hold
    /// something in particular (indices, lengths) cannot be tuned like this.
    ///
    /// # Errors
    /// Whatever is wrong with the spec; [`Error::Shape`] for one without launches;
    /// [`Error::OutOfMemory`]; [`Error::DeviceLost`]; the first candidate's error when none can be
    /// timed.
    pub fn tune(&self, spec: &(impl Spec + ?Sized)) -> Result<Tuned> {
        self.tune_with(spec, &TuneOptions::default(), |_, _| ())
    }

    /// As [`Context::tune`], as told. `watch` is called before every timing with how many are done
    /// and how many there are as far as is known then: what has to be timed again adds to them.
    ///
    /// # Errors
    /// As [`Context::tune`], and [`Error::Range`] or [`Error::Shape`] for options that make no
    /// sense.
    pub fn tune_with(
        &self,
        spec: &(impl Spec + ?Sized),
        options: &TuneOptions,
        watch: impl FnMut(usize, usize),
    ) -> Result<Tuned> {
        options.check()?;
        // A spec that is refused with the defaults is wrong itself, whatever its candidates say.
        let defaults = spec.launches(self.caps(), &Knobs::default())?;
        let traffic = defaults.iter().map(Launch::traffic).sum();
        let surveyed = survey(spec, self.caps(), options.fewest_groups(self.info()));
        let worth = surveyed.iter().filter_map(|(_, s)| match s {
            Surveyed::Worth(launches) => Some(launches.as_slice()),
            _ => None,
        });
        let worth: Vec<&[Launch]> = worth.collect();
        if worth.is_empty() {
            let reasons = surveyed.iter().filter_map(|(_, s)| match s {
                Surveyed::Refused(why) => Some(why.as_str()),
                _ => None,
            });
            let mut why = reasons.collect::<Vec<_>>().join("; ");
            if surveyed.is_empty() {
                why.push_str("the spec names none");
            }
            return Err(Error::unsupported(format!("a candidate of {}", spec.kernel()), why));
        }
        let budget = options.budget.unwrap_or_else(|| Budget::for_device(self.info()));
        let operands = Operands::new(self, &worth.concat(), options.screen.order, &budget)?;
        let timings = worth.len();
        let bound_ns = options.roof.nanoseconds(traffic);
        let mut probe = Probe::new(self, Probe::WAKE_UP)?;
        // A GPU that waits for a compiler lowers its clock, so all is compiled before anything is
        // timed. What fails here fails again below, where it is dealt with.
        worth.iter().for_each(|launches| drop(self.plan_launches(launches.to_vec())));
        probe.wake(self)?;
        let mut run =
            Run { ctx: self, options, operands, bound_ns, watch, probe, done: 0, timings };

        let mut tried = Vec::with_capacity(surveyed.len());
        let mut launches = Vec::with_capacity(surveyed.len());
        let mut fastest = f64::INFINITY;
        let mut first_error = None;
        for (knobs, surveyed) in surveyed {
            let mut kept = None;
            let outcome = match surveyed {
                Surveyed::Refused(why) => Outcome::Refused(why),
                Surveyed::Same(at) => Outcome::SameAs(at),
                Surveyed::TooFew(groups) => Outcome::TooFewGroups(groups),
                Surveyed::Worth(_) if run.is_bound(fastest) => Outcome::NotNeeded,
                Surveyed::Worth(launches) => match run.time(&launches, &options.screen) {
                    Ok(timing) => {
                        // A doubtful time must not spare the others theirs.
                        if timing.settled {
                            fastest = fastest.min(timing.dispatch_ns.median);
                        }
                        kept = Some(launches);
                        Outcome::Timed(timing)
                    }
                    Err(error @ Error::DeviceLost { .. }) => return Err(error),
                    Err(error) => {
                        let outcome = Outcome::Failed(error.to_string());
                        first_error.get_or_insert(error);
                        outcome
                    }
                },
            };
            log::debug!("{} {knobs:?}: {outcome:?}", spec.kernel());
            tried.push(Trial { knobs, outcome });
            launches.push(kept);
        }
        let everyone: Vec<usize> = (0..tried.len()).collect();
        run.repeat(&mut tried, &launches, &everyone, &options.screen)?;
        let mut finalists = Vec::new();
        let leader = best(&tried, 0.0).map(|(_, timing)| timing);
        let fastest = leader.map_or(f64::INFINITY, |timing| timing.dispatch_ns.median);
        let done = leader.is_some_and(|timing| timing.settled) && run.is_bound(fastest);
        if let Some(finals) = options.finals.as_ref().filter(|_| !done) {
            finalists = run.finals(&mut tried, &launches, fastest, finals)?;
        }
        // Short and long timings do not compare: who was in the finals wins or loses there.
        let among_finalists = finalists.iter().filter_map(|at| tried.get(*at));
        match best(among_finalists, options.tie).or_else(|| best(&tried, options.tie)) {
            Some((knobs, timing)) => Ok(Tuned { knobs, timing, tried, traffic, bound_ns }),
            None => Err(first_error.unwrap_or_else(|| {
                Error::unsupported(format!("a time of {}", spec.kernel()), "nothing was timed")
            })),
        }
    }
}

/// The first whose time no later one undercuts by more than `tie`, among those whose times settled
/// or, where none did, among all.
fn best<'a>(tried: impl IntoIterator<Item = &'a Trial>, tie: f64) -> Option<(Knobs, Timing)> {
    let timed = tried.into_iter().filter_map(|trial| Some((trial.knobs, *trial.timing()?)));
    let timed: Vec<(Knobs, Timing)> = timed.collect();
    let any = timed.iter().any(|(_, timing)| timing.settled);
    timed.into_iter().filter(|(_, timing)| timing.settled || !any).reduce(|best, next| {
        let better = next.1.dispatch_ns.median < best.1.dispatch_ns.median * (1.0 - tie);
        if better { next } else { best }
    })
}

/// What all timings of one tuning share.
struct Run<'a, W> {
    ctx: &'a Context,
    options: &'a TuneOptions,
    operands: Operands,
    bound_ns: Option<f64>,
    watch: W,
    probe: Probe,
    done: usize,
    timings: usize,
}

impl<W: FnMut(usize, usize)> Run<'_, W> {
    /// Whether a time is as short as it can get.
    fn is_bound(&self, ns: f64) -> bool {
        self.bound_ns.is_some_and(|bound| ns <= bound * (1.0 + self.options.margin))
    }

    fn time(&mut self, launches: &[Launch], options: &measure::Options) -> Result<Timing> {
        (self.watch)(self.done, self.timings);
        self.done += 1;
        let plan = self.ctx.plan_launches(launches.to_vec())?;
        self.probe.time(self.ctx, &self.operands.rotation(self.ctx, &plan)?, options)
    }

    /// Times these places once more.
    fn again(
        &mut self,
        tried: &mut [Trial],
        launches: &[Option<Vec<Launch>>],
        places: &[usize],
        options: &measure::Options,
    ) -> Result<()> {
        self.timings = self.done + places.len();
        for &at in places {
            if let (Some(trial), Some(Some(launches))) = (tried.get_mut(at), launches.get(at)) {
                trial.outcome = match self.time(launches, options) {
                    Ok(timing) => Outcome::Timed(timing),
                    Err(error @ Error::DeviceLost { .. }) => return Err(error),
                    Err(error) => Outcome::Failed(error.to_string()),
                };
            }
        }
        Ok(())
    }

    /// Whether a time is to be relied on: it settled, at the highest clock seen so far.
    fn settled(&self, timing: &Timing) -> bool {
        timing.settled && !self.probe.outran(timing)
    }

    /// Times those of these places once more whose times are not to be relied on, and marks all
    /// whose times are not afterwards either.
    fn repeat(
        &mut self,
        tried: &mut [Trial],
        launches: &[Option<Vec<Launch>>],
        places: &[usize],
        options: &measure::Options,
    ) -> Result<()> {
        let doubtful = |at: &usize| {
            tried.get(*at).and_then(Trial::timing).is_some_and(|timing| !self.settled(timing))
        };
        let doubtful: Vec<usize> = places.iter().copied().filter(doubtful).collect();
        self.again(tried, launches, &doubtful, options)?;
        for trial in tried {
            if let Outcome::Timed(timing) = &mut trial.outcome {
                timing.settled = self.settled(timing);
            }
        }
        Ok(())
    }

    /// Times those close to the fastest once more, where there are several, and gives their
    /// places.
    fn finals(
        &mut self,
        tried: &mut [Trial],
        launches: &[Option<Vec<Launch>>],
        fastest: f64,
        options: &measure::Options,
    ) -> Result<Vec<usize>> {
        let limit = fastest * (1.0 + self.options.close);
        let close = |trial: &Trial| trial.timing().is_some_and(|t| t.dispatch_ns.median <= limit);
        let places: Vec<usize> =
            (0..).zip(&*tried).filter(|(_, t)| close(t)).map(|(at, _)| at).collect();
        if places.len() < 2 {
            return Ok(Vec::new());
        }
        self.again(tried, launches, &places, options)?;
        self.repeat(tried, launches, &places, options)?;
        Ok(places)
    }
}

#[cfg(test)]
mod tests;
