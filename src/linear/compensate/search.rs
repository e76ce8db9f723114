//! Spending a slowdown that is allowed, from measured times.

use super::Structure;
use crate::launch::Knobs;
use crate::linear::residual::ResidualLayout;
use crate::linear::select::CHUNK;
use crate::{Error, Result};

/// Times of one layer with one number of workgroups.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Curve {
    /// How product and compensation run.
    pub structure: Structure,
    /// Workgroups of the compensation.
    pub groups: usize,
    /// Nanoseconds of product and compensation together, for each `k_chunk` of [`LayerTimes::k_chunks`].
    pub ns: Vec<f64>,
}

/// What was measured of one layer.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LayerTimes {
    /// The layer's name, in errors and choices.
    pub name: String,
    /// Nanoseconds of the product alone.
    pub base_ns: f64,
    /// What was measured, from 1 upwards, at most 1024; between them times are interpolated.
    pub k_chunks: Vec<usize>,
    /// Curves by structure and number of workgroups.
    pub curves: Vec<Curve>,
}

/// What a layer gets.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LayerChoice {
    /// The layer's name.
    pub name: String,
    /// Channels of each 1024; 0 leaves the product alone.
    pub k_chunk: usize,
    /// How to run; of no meaning where `k_chunk` is 0.
    pub structure: Structure,
    /// Workgroups of the compensation.
    pub groups: usize,
    /// Nanoseconds that this should take.
    pub ns: f64,
}

impl LayerChoice {
    /// The knobs that make as many workgroups of the compensation, for a layer with such a residual.
    pub fn knobs(&self, residual: &ResidualLayout) -> Knobs {
        let slice = residual.segments().div_ceil(self.groups.max(1));
        let rows = u32::try_from(slice * residual.segment_rows()).unwrap_or(u32::MAX);
        Knobs { rows: Some(rows), ..Knobs::DEFAULT }
    }
}

/// What all layers get.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Choice {
    /// Most workgroups that any compensation has.
    pub most_groups: usize,
    /// One for each layer, in their order.
    pub layers: Vec<LayerChoice>,
    /// Nanoseconds of all products alone.
    pub base_ns: f64,
    /// Nanoseconds of all layers as chosen.
    pub ns: f64,
}

impl Choice {
    /// By how much the layers together become slower, as a share.
    pub fn slowdown(&self) -> f64 {
        self.ns / self.base_ns - 1.0
    }
}

impl LayerTimes {
    fn check(&self) -> Result<()> {
        let wrong = |error: Error| Err(error.in_layer(&self.name));
        let ascending = self.k_chunks.windows(2).all(|pair| pair[0] < pair[1]);
        let within = self.k_chunks.iter().all(|k| (1..=CHUNK).contains(k));
        if !ascending || !within || self.k_chunks.is_empty() {
            let expected = format!("at least one, ascending, of 1..={CHUNK}");
            let found = format!("{:?}", self.k_chunks);
            return wrong(Error::shape("k_chunk of measured times", expected, found));
        }
        if self.curves.is_empty() {
            return wrong(Error::shape("curves of measured times", "at least one", 0));
        }
        for curve in &self.curves {
            if curve.ns.len() != self.k_chunks.len() {
                let (expected, found) = (self.k_chunks.len(), curve.ns.len());
                return wrong(Error::shape("times of a curve", expected, found));
            }
        }
        let times = self.curves.iter().flat_map(|curve| &curve.ns).chain([&self.base_ns]);
        match times.into_iter().find(|ns| !(ns.is_finite() && **ns > 0.0)) {
            Some(ns) => {
                wrong(Error::range("nanoseconds of a layer", "positive finite numbers", ns))
            }
            None => Ok(()),
        }
    }

    /// The fastest way to take `k_chunk` channels of each 1024 with at most so many workgroups: of each
    /// structure the curve with the most that are allowed. `None` beyond what was measured.
    fn at(&self, k_chunk: usize, most: usize) -> Option<LayerChoice> {
        let choice = |structure, groups, ns| {
            let name = self.name.clone();
            LayerChoice { name, k_chunk, structure, groups, ns }
        };
        if k_chunk == 0 {
            return Some(choice(Structure::Beside, 0, self.base_ns));
        }
        let of = |structure| {
            let allowed = self.curves.iter().filter(|c| c.structure == structure);
            let curve = allowed.filter(|c| c.groups <= most).max_by_key(|c| c.groups)?;
            let ns = self.interpolated(curve, k_chunk)?;
            Some(choice(structure, curve.groups, ns))
        };
        let found = Structure::ALL.into_iter().filter_map(of);
        found.min_by(|a, b| a.ns.total_cmp(&b.ns))
    }

    fn interpolated(&self, curve: &Curve, k_chunk: usize) -> Option<f64> {
        let next = self.k_chunks.iter().position(|k| *k >= k_chunk)?;
        let (k, ns) = (self.k_chunks[next], curve.ns[next]);
        if k == k_chunk {
            return Some(ns);
        }
        // Before the first there is the product alone.
        let (k_before, before) = match next.checked_sub(1) {
            Some(at) => (self.k_chunks[at], curve.ns[at]),
            None => (0, self.base_ns),
        };
        let share = (k_chunk - k_before) as f64 / (k - k_before) as f64;
        Some(before + share * (ns - before))
    }
}

/// Takes as many channels as `slowdown` allows (0.05 for 5 %), over all layers together. Source: arXiv
/// 2412.20185, section 4.3.
///
/// First one `k_chunk` for all layers and one bound on workgroups, those with which the most channels
/// fit; where not even one does, the layer with the fastest product goes without. Then layers are
/// raised one channel at a time, the cheapest first, until none fits any more.
///
/// # Errors
/// [`Error::Range`] for a slowdown that is negative or not finite, [`Error::Shape`] for no layers,
/// and [`Error::Layer`] around [`Error::Shape`] or [`Error::Range`] for measured times that are none.
pub fn search(layers: &[LayerTimes], slowdown: f64) -> Result<Choice> {
    if !(slowdown.is_finite() && slowdown >= 0.0) {
        return Err(Error::range("slowdown that is allowed", "finite numbers from 0", slowdown));
    }
    if layers.is_empty() {
        return Err(Error::shape("layers with measured times", "at least one", 0));
    }
    layers.iter().try_for_each(LayerTimes::check)?;
    let base_ns: f64 = layers.iter().map(|layer| layer.base_ns).sum();
    let allowed = base_ns * (1.0 + slowdown);

    // Layers that go without, the fastest first.
    let mut fixed = vec![false; layers.len()];
    let (most, mut chosen) = loop {
        match common(layers, &fixed, allowed) {
            Some(found) => break found,
            None => {
                let left = (0..layers.len()).filter(|at| !fixed[*at]);
                let fastest = left.min_by(|a, b| layers[*a].base_ns.total_cmp(&layers[*b].base_ns));
                match fastest {
                    Some(at) => fixed[at] = true,
                    None => {
                        let alone = layers.iter().filter_map(|layer| layer.at(0, 0));
                        break (0, alone.collect());
                    }
                }
            }
        }
    };

    loop {
        let mut raises: Vec<(usize, LayerChoice)> = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            let next = chosen.get(at).and_then(|c: &LayerChoice| layer.at(c.k_chunk + 1, most));
            raises.extend(next.filter(|_| !fixed[at]).map(|next| (at, next)));
        }
        let cost = |(at, next): &(usize, LayerChoice)| next.ns - chosen[*at].ns;
        raises.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
        let mut raised = false;
        for (at, next) in raises {
            let total: f64 = chosen.iter().map(|c| c.ns).sum();
            if total - chosen[at].ns + next.ns <= allowed {
                chosen[at] = next;
                raised = true;
            }
        }
        if !raised {
            break;
        }
    }
    let ns = chosen.iter().map(|choice| choice.ns).sum();
    Ok(Choice { most_groups: most, layers: chosen, base_ns, ns })
}

/// The most channels for all layers that are not fixed at none, and with how many workgroups; `None`
/// where not even one of each 1024 fits.
fn common(
    layers: &[LayerTimes],
    fixed: &[bool],
    allowed: f64,
) -> Option<(usize, Vec<LayerChoice>)> {
    let mut counts: Vec<usize> =
        layers.iter().flat_map(|layer| layer.curves.iter().map(|curve| curve.groups)).collect();
    counts.sort_unstable();
    counts.dedup();
    let mut best: Option<(usize, f64, usize, Vec<LayerChoice>)> = None;
    for most in counts {
        for k_chunk in 1..=CHUNK {
            let with = |(layer, fixed): (&LayerTimes, &bool)| {
                layer.at(if *fixed { 0 } else { k_chunk }, most)
            };
            let Some(chosen) = layers.iter().zip(fixed).map(with).collect::<Option<Vec<_>>>()
            else {
                break;
            };
            let ns: f64 = chosen.iter().map(|choice| choice.ns).sum();
            if ns > allowed || fixed.iter().all(|fixed| *fixed) {
                break;
            }
            let better = best
                .as_ref()
                .is_none_or(|(k, time, ..)| k_chunk > *k || (k_chunk == *k && ns < *time));
            if better {
                best = Some((k_chunk, ns, most, chosen));
            }
        }
    }
    best.map(|(_, _, most, chosen)| (most, chosen))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Free up to `free`, then `each` nanoseconds a channel of 1024; with fewer workgroups than 4 the
    /// channels cost from the first on.
    fn layer(name: &str, base_ns: f64, free: usize, each: f64) -> LayerTimes {
        let k_chunks: Vec<usize> = (1..=40).collect();
        let time = |groups: usize, k: usize| {
            let free = if groups < 4 { 0 } else { free };
            base_ns + each * k.saturating_sub(free) as f64
        };
        let curve = |groups| Curve {
            structure: Structure::Beside,
            groups,
            ns: k_chunks.iter().map(|k| time(groups, *k)).collect(),
        };
        let curves = [1, 2, 4, 8].map(curve).to_vec();
        LayerTimes { name: name.to_owned(), base_ns, k_chunks, curves }
    }

    fn taken(choice: &Choice) -> Vec<usize> {
        choice.layers.iter().map(|layer| layer.k_chunk).collect()
    }

    #[test]
    fn what_is_free_is_taken_and_no_more() {
        let layers = [layer("a", 1000.0, 10, 50.0), layer("b", 3000.0, 14, 50.0)];
        let choice = search(&layers, 0.0).unwrap();
        assert_eq!(taken(&choice), [10, 14]);
        assert_eq!((choice.slowdown(), choice.most_groups), (0.0, 4));
        // 5 % of 4000 are four channels' time: the common choice is 12, which leaves two for the cheaper
        // ones, those of `b` being free.
        let choice = search(&layers, 0.05).unwrap();
        assert!(choice.ns <= 4200.0 && choice.ns > 4150.0, "{choice:?}");
        assert_eq!(taken(&choice).iter().sum::<usize>(), 28);
    }

    #[test]
    fn layers_that_can_hide_nothing_go_without() {
        let layers = [layer("small", 100.0, 0, 400.0), layer("large", 4000.0, 20, 100.0)];
        let choice = search(&layers, 0.05).unwrap();
        assert_eq!(taken(&choice), [0, 22]);
        let choice = search(&layers[..1], 0.1).unwrap();
        assert_eq!((taken(&choice), choice.ns, choice.slowdown()), (vec![0], 100.0, 0.0));
        assert_eq!(taken(&search(&[layer("x", 100.0, 40, 1.0)], 0.0).unwrap()), [40]);
    }

    #[test]
    fn each_layer_has_the_faster_structure() {
        let mut fast = layer("a", 1000.0, 10, 50.0);
        let listed = |curve: &Curve| Curve {
            structure: Structure::Listed,
            ns: curve.ns.iter().map(|ns| ns - 120.0).collect(),
            ..curve.clone()
        };
        let more: Vec<Curve> = fast.curves.iter().map(listed).collect();
        fast.curves.extend(more);
        let choice = search(&[fast, layer("b", 1000.0, 3, 50.0)], 0.1).unwrap();
        assert_eq!(choice.layers[0].structure, Structure::Listed);
        assert_eq!(choice.layers[1].structure, Structure::Beside);
    }

    #[test]
    fn times_between_measured_ones_lie_between_them() {
        let curve = Curve { structure: Structure::Beside, groups: 1, ns: vec![1100.0, 1500.0] };
        let (name, k_chunks) = ("a".to_owned(), vec![4, 8]);
        let layer = LayerTimes { name, base_ns: 1000.0, k_chunks, curves: vec![curve] };
        let at = |k| layer.at(k, 1).map(|choice| choice.ns);
        assert_eq!([at(0), at(2), at(4), at(5)], [1000.0, 1050.0, 1100.0, 1200.0].map(Some));
        assert_eq!((at(9), layer.at(4, 0)), (None, None));
        assert_eq!(taken(&search(&[layer], 0.2).unwrap()), [5]);
    }

    #[test]
    fn times_that_are_none_are_refused_by_the_layers_name() {
        let good = layer("blk.0.q", 1000.0, 10, 50.0);
        assert!(matches!(search(&[], 0.1), Err(Error::Shape { .. })));
        for slowdown in [-0.1, f64::NAN] {
            let error = search(std::slice::from_ref(&good), slowdown);
            assert!(matches!(error, Err(Error::Range { .. })));
        }
        let curve = &good.curves[0];
        let with = |curve| LayerTimes { curves: vec![curve], ..good.clone() };
        for bad in [
            LayerTimes { k_chunks: vec![2, 1], ..good.clone() },
            LayerTimes { k_chunks: vec![0, 1], ..good.clone() },
            LayerTimes { k_chunks: vec![1025], ..good.clone() },
            LayerTimes { k_chunks: Vec::new(), ..good.clone() },
            LayerTimes { curves: Vec::new(), ..good.clone() },
            LayerTimes { base_ns: 0.0, ..good.clone() },
            with(Curve { ns: vec![1.0], ..curve.clone() }),
            with(Curve { ns: vec![f64::NAN; 40], ..curve.clone() }),
        ] {
            let error = search(&[bad], 0.1).unwrap_err();
            assert!(error.to_string().contains("blk.0.q"), "{error}");
        }
    }
}
