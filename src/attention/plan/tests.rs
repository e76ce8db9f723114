use super::*;
use crate::attention::{CacheShape, KvElement};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Whatever has to hold of any plan, looked at from what kernels are given.
fn check(plan: &Plan, spans: &[Range<u32>], workgroups: u32) {
    let words = plan.segment_words();
    let segments: Vec<[u32; 4]> = words.chunks(4).map(|s| s.try_into().unwrap()).collect();
    let (first, slots) = (plan.group_first(), plan.head_slots());
    assert_eq!((first[0], slots[0]), (0, 0));
    assert_eq!(*first.last().unwrap() as usize, segments.len());
    assert_eq!((first.len() as u32 - 1, slots.len() - 1), (plan.groups(), spans.len()));
    assert!(first.windows(2).all(|pair| pair[0] < pair[1]), "a workgroup without segments");
    assert!(plan.slots() <= plan.groups() + spans.len() as u32);
    // Segments ascend by head and row, so all of a head's are together.
    let mut next = segments.iter().peekable();
    for (head, span) in spans.iter().enumerate() {
        let mut of = Vec::new();
        while let Some(segment) = next.next_if(|segment| segment[0] == head as u32) {
            of.push(segment);
        }
        assert_eq!(of.first().unwrap()[1], span.start);
        assert_eq!(of.last().unwrap()[2], OPEN);
        for pair in of.windows(2) {
            assert_eq!(pair[0][2], pair[1][1], "a gap or an overlap in head {head}");
            assert!(pair[0][1] < pair[0][2] && pair[0][2] < span.end);
            assert_eq!(pair[0][2] % TILE, 0);
        }
        let expected: Vec<u32> = match of.len() {
            1 => vec![DIRECT],
            _ => (slots[head]..slots[head + 1]).collect(),
        };
        assert_eq!(of.iter().map(|segment| segment[3]).collect::<Vec<_>>(), expected);
        assert_eq!(slots[head + 1] - slots[head], if of.len() > 1 { of.len() as u32 } else { 0 });
    }
    assert!(next.next().is_none());
    balanced(plan, spans, workgroups);
}

fn balanced(plan: &Plan, spans: &[Range<u32>], workgroups: u32) {
    let tiles_of = |segment: &Segment| {
        let span = &spans[segment.head as usize];
        tiles(&(segment.start..segment.end.min(span.end)))
    };
    let counts: Vec<u32> = (0..plan.groups() as usize)
        .map(|group| plan.group(group).iter().map(tiles_of).sum())
        .collect();
    let (least, most) = (*counts.iter().min().unwrap(), *counts.iter().max().unwrap());
    assert!(plan.longest_group() <= u64::from(most) * u64::from(TILE));
    match plan.planner() {
        Planner::Stream => {
            assert!(most - least <= 1, "{least} and {most} tiles");
            let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
            assert_eq!(u64::from(plan.groups()), total.min(workgroups.into()));
        }
        Planner::Chunked => {
            assert!(plan.groups() <= workgroups.max(spans.len() as u32));
            let all = spans.iter().map(tiles);
            let count = |c: u32| all.clone().map(|t| t.div_ceil(c)).sum::<u32>();
            // The least chunk: one tile less would be too many, or is shorter than the shortest.
            let split = plan.groups() as usize > spans.len();
            let chunk = if split { most } else { all.clone().max().unwrap().max(2) };
            assert!(chunk <= 2 || count(chunk - 1) > workgroups, "{chunk} of {workgroups}");
            assert_eq!(plan.groups(), count(chunk));
        }
    }
}

fn shapes() -> Vec<Vec<u32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut shapes = vec![
        vec![0],
        vec![1],
        vec![63, 64, 65],
        vec![128, 129],
        vec![0; 8],
        vec![0, 0, 170_000, 0, 0, 0, 0, 0],
        vec![170_000; 8],
        vec![u32::MAX >> 1, 5],
        (1..=32).map(|rank| 120_000 / rank).collect(),
        (1..=8).map(|rank| 4096 / (rank * rank)).collect(),
    ];
    for heads in [1, 3, 8, 40] {
        shapes.push((0..heads).map(|_| rng.random_range(0..3000)).collect());
        shapes.push((0..heads).map(|_| 1 << rng.random_range(0..18)).collect());
    }
    shapes
}

#[test]
fn every_row_is_covered_once_and_the_work_is_even() {
    for lengths in shapes() {
        for workgroups in [1, 2, 3, 7, 8, 31, 64, 132, 264, 528, 1023, 1024] {
            for planner in Planner::ALL {
                let plan = planner.plan(&lengths, workgroups).unwrap();
                let spans: Vec<_> = lengths.iter().map(|length| 0..*length).collect();
                check(&plan, &spans, workgroups);
            }
        }
    }
}

#[test]
fn any_spans_are_covered() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    for _ in 0..400 {
        let heads = rng.random_range(1..20);
        let spans: Vec<Range<u32>> = (0..heads)
            .map(|_| {
                let end = rng.random_range(0..5000);
                rng.random_range(0..=end)..end
            })
            .collect();
        let workgroups = rng.random_range(1..=1024);
        for planner in Planner::ALL {
            check(&planner.plan_spans(&spans, workgroups).unwrap(), &spans, workgroups);
        }
    }
}

#[test]
fn plans_worked_out_by_hand() {
    let segment = |head, start, end, slot| Segment { head, start, end, slot };
    // 4 + 1 + 1 + 2 tiles; the head without rows counts as one.
    let plan = Planner::Stream.plan(&[200, 0, 64, 70], 3).unwrap();
    assert_eq!(plan.group(0), [segment(0, 0, 128, 0)]);
    assert_eq!(plan.group(1), [segment(0, 128, OPEN, 1), segment(1, 0, OPEN, DIRECT)]);
    assert_eq!(plan.group(2), [segment(2, 0, OPEN, DIRECT), segment(3, 0, OPEN, DIRECT)]);
    assert_eq!(plan.head_slots(), [0, 2, 2, 2, 2]);
    assert!(plan.group(3).is_empty() && plan.group(usize::MAX).is_empty());
    // 128 rows would be 5 chunks.
    let plan = Planner::Chunked.plan(&[300, 0, 200], 4).unwrap();
    let expected = [
        segment(0, 0, 192, 0),
        segment(0, 192, OPEN, 1),
        segment(1, 0, OPEN, DIRECT),
        segment(2, 0, 192, 2),
        segment(2, 192, OPEN, 3),
    ];
    assert_ne!(plan.segments(), expected);
    assert_eq!(Planner::Chunked.plan(&[300, 0, 200], 5).unwrap().segments(), expected);
    assert_eq!(plan.segments()[0], segment(0, 0, 256, 0));
    assert_eq!((plan.groups(), plan.slots()), (4, 2));
}

#[test]
fn what_cannot_be_planned_is_refused() {
    for planner in Planner::ALL {
        let range = |plan: Result<Plan>| assert!(matches!(plan, Err(Error::Range { .. })));
        range(planner.plan(&[], 1));
        range(planner.plan(&vec![1; 65_536], 1));
        range(planner.plan(&[1], 0));
        range(planner.plan(&[1], 65_536));
        range(planner.plan(&[1, 1 << 31], 4));
        range(planner.plan_spans(&[Range { start: 5, end: 4 }], 4));
        let most = planner.plan(&vec![u32::MAX >> 1; 65_535], 65_535).unwrap();
        assert_eq!(most.groups(), 65_535);
    }
}

#[test]
fn plans_know_their_layout() {
    let shape = CacheShape::new(2, 64, KvElement::F16).unwrap();
    let mut layout = Layout::ragged(shape, &[700, 3], 64, 1000).unwrap();
    layout.append(10).unwrap();
    let plan = Planner::Stream.plan_layout(&layout, 4).unwrap();
    assert_eq!(plan.spans(), [0..710, 0..13]);
    assert_eq!(plan.balanced_until(), 522);
    plan.check(&layout).unwrap();
    let stale = |layout: &Layout, what: &str| {
        let error = plan.check(layout).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        assert!(error.to_string().contains(&format!("stale plan: {what}")), "{error}");
    };
    // More rows are covered, fewer are not what was planned.
    layout.append(54).unwrap();
    plan.check(&layout).unwrap();
    layout.truncate(9).unwrap();
    stale(&layout, "appended rows");
    layout.append(1).unwrap();
    plan.check(&layout).unwrap();
    layout.relayout().unwrap();
    stale(&layout, "generation");
    let mut other = Layout::ragged(shape, &[700, 4], 64, 1000).unwrap();
    other.append(10).unwrap();
    stale(&other, "kept rows of head 1");
    let wider = CacheShape::new(3, 64, KvElement::F16).unwrap();
    stale(&Layout::plain(wider, 5).unwrap(), "KV heads");
    let lengths = Planner::Stream.plan(&layout.lengths(), 4).unwrap();
    assert!(matches!(lengths.check(&layout), Err(Error::Shape { .. })));
}
