//! Which candidates are worth timing, decided without a device.

use fewbytes::launch::Operand;
use fewbytes::{Caps, Knobs, Launch, Spec};
use std::collections::HashMap;

/// A candidate before anything is timed.
pub(super) enum Surveyed {
    /// To be timed.
    Worth(Vec<Launch>),
    /// Its launches are refused, and why.
    Refused(String),
    /// Its launches are those of an earlier candidate, by its place.
    Same(usize),
    /// It has too few workgroups: how many.
    TooFew(u64),
}

/// What two candidates share when they are the same work.
#[derive(PartialEq, Eq, Hash)]
struct Shape {
    pipeline: u64,
    grid: [u32; 3],
    params: Vec<u8>,
    operands: Vec<Operand>,
}

impl Shape {
    fn of(launch: &Launch) -> Self {
        Self {
            pipeline: launch.key(),
            grid: launch.grid(),
            params: launch.params().to_vec(),
            operands: launch.operands().to_vec(),
        }
    }
}

/// Workgroups of the launch that moves the most bytes, which takes most of the time. A small one
/// beside it, such as that which adds slices up, may leave a device idle: it is short.
fn groups(launches: &[Launch]) -> u64 {
    let longest = launches.iter().max_by_key(|launch| launch.traffic().bytes());
    longest.map_or(0, |launch| launch.grid().into_iter().map(u64::from).product())
}

/// Looks at every candidate of a spec, in order. Those with fewer than `min_groups` workgroups are
/// left out, unless no candidate has as many.
pub(super) fn survey(
    spec: &(impl Spec + ?Sized),
    caps: &Caps,
    min_groups: u32,
) -> Vec<(Knobs, Surveyed)> {
    let mut seen = HashMap::new();
    let mut found: Vec<_> = spec
        .candidates(caps)
        .into_iter()
        .enumerate()
        .map(|(at, knobs)| match spec.launches(caps, &knobs) {
            Err(error) => (knobs, Surveyed::Refused(error.to_string())),
            Ok(launches) => {
                let shapes: Vec<_> = launches.iter().map(Shape::of).collect();
                let first = *seen.entry(shapes).or_insert(at);
                let surveyed =
                    if first == at { Surveyed::Worth(launches) } else { Surveyed::Same(first) };
                (knobs, surveyed)
            }
        })
        .collect();
    let fills = |launches: &[Launch]| groups(launches) >= min_groups.into();
    let any = found.iter().any(|(_, s)| matches!(s, Surveyed::Worth(l) if fills(l)));
    for (_, surveyed) in found.iter_mut().filter(|_| any) {
        if let Surveyed::Worth(launches) = surveyed
            && !fills(launches)
        {
            *surveyed = Surveyed::TooFew(groups(launches));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use fewbytes::Result;
    use fewbytes::launch::Reduce;
    use fewbytes::linear::{BitplaneLayout, BitplaneShape, GemvBitplane, TableElement};

    struct Candidates(GemvBitplane, Vec<Knobs>);

    impl Spec for Candidates {
        fn kernel(&self) -> &'static str {
            self.0.kernel()
        }
        fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
            self.0.launches(caps, knobs)
        }
        fn candidates(&self, _: &Caps) -> Vec<Knobs> {
            self.1.clone()
        }
    }

    /// 64 rows: 32, 16 or 8 workgroups at 2, 4 or 8 rows each.
    fn surveyed(candidates: &[Knobs], min_groups: u32) -> Vec<&'static str> {
        let caps = Caps::webgpu();
        let shape = BitplaneShape { rows: 64, cols: 64, seed_bits: 2, parent_bits: 8 };
        let layout =
            BitplaneLayout::for_shape(shape, &[4], TableElement::F16, false, 4, &caps).unwrap();
        let spec = Candidates(GemvBitplane::new(layout, 4), candidates.to_vec());
        let found = survey(&spec, &caps, min_groups);
        assert!(found.iter().map(|(knobs, _)| knobs).eq(candidates));
        let word = |(_, surveyed)| match surveyed {
            Surveyed::Worth(_) => "worth",
            Surveyed::Refused(_) => "refused",
            Surveyed::Same(0) => "same as 0",
            Surveyed::Same(_) => "same",
            Surveyed::TooFew(8) => "8 groups",
            Surveyed::TooFew(_) => "few groups",
        };
        found.into_iter().map(word).collect()
    }

    fn rows(rows: u32) -> Knobs {
        Knobs { rows: Some(rows), ..Knobs::default() }
    }

    #[test]
    fn what_is_refused_or_the_same_is_not_worth_timing() {
        let subgroup = Knobs { reduce: Some(Reduce::Subgroup), ..Knobs::default() };
        let candidates = [Knobs::default(), rows(2), subgroup, rows(4), Knobs::baseline()];
        let expected = ["worth", "same as 0", "refused", "worth", "same as 0"];
        assert_eq!(surveyed(&candidates, 0), expected);
    }

    #[test]
    fn too_few_workgroups_count_only_against_candidates_with_enough() {
        let candidates = [rows(2), rows(8)];
        assert_eq!(surveyed(&candidates, 8), ["worth", "worth"]);
        assert_eq!(surveyed(&candidates, 9), ["worth", "8 groups"]);
        assert_eq!(surveyed(&candidates, 33), ["worth", "worth"]);
        assert_eq!(surveyed(&[rows(8), rows(8)], 9), ["worth", "same as 0"]);
    }

    #[test]
    fn a_sum_of_slices_does_not_count_against_its_product() {
        let caps = Caps::webgpu();
        let shape = BitplaneShape { rows: 1024, cols: 4096, seed_bits: 2, parent_bits: 8 };
        let layout =
            BitplaneLayout::for_shape(shape, &[4], TableElement::F16, false, 4, &caps).unwrap();
        let sliced = Knobs { slices: Some(2), ..Knobs::default() };
        let spec = Candidates(GemvBitplane::new(layout, 4), vec![Knobs::default(), sliced]);
        let launches = spec.launches(&caps, &sliced).unwrap();
        let of = |launch: &Launch| launch.grid().iter().product::<u32>();
        assert!(of(&launches[1]) < 64, "the sum fills no discrete GPU: {:?}", launches[1].grid());
        assert_eq!(groups(&launches), u64::from(of(&launches[0])));
        for (_, surveyed) in survey(&spec, &caps, 64) {
            assert!(matches!(surveyed, Surveyed::Worth(_)));
        }
    }

    #[test]
    fn no_candidates_are_no_work() {
        assert!(surveyed(&[], 9).is_empty());
    }
}
