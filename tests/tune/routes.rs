//! The tuner among the routes of a product.

use super::device::open;
use fewbytes::launch::Route;
use fewbytes::linear::{BitplaneLayout, BitplaneShape, MatmulBitplane, TableElement};
use fewbytes::{Caps, Knobs, Launch, Result, Spec};
use fewbytes_wgpu::Features;
use fewbytes_wgpu::tune::TuneCache;

/// One candidate of each route; the spec's own are many.
struct Routes(MatmulBitplane);

const ROUTES: [Route; 3] = [Route::Gemv, Route::Gemm, Route::Dense];

fn by(route: Route) -> Knobs {
    Knobs { route: Some(route), ..Knobs::DEFAULT }
}

impl Spec for Routes {
    fn kernel(&self) -> &'static str {
        self.0.kernel()
    }

    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        self.0.launches(caps, knobs)
    }

    fn candidates(&self, _: &Caps) -> Vec<Knobs> {
        ROUTES.map(by).to_vec()
    }
}

fn matmul(batch: usize, caps: &Caps) -> MatmulBitplane {
    of_rows(64, batch, caps)
}

fn of_rows(rows: usize, batch: usize, caps: &Caps) -> MatmulBitplane {
    let shape = BitplaneShape { rows, cols: 96, seed_bits: 2, parent_bits: 8 };
    let layout = BitplaneLayout::for_shape(shape, &[4], TableElement::F16, true, 8, caps).unwrap();
    MatmulBitplane::new(layout, 4, batch)
}

#[test]
fn every_route_is_timed_and_the_fastest_is_remembered() {
    let ctx = open(Features::Full);
    let spec = Routes(matmul(5, ctx.caps()));
    let tuned = ctx.tune_with(&spec, &super::timing::hasty(), |_, _| ()).unwrap();
    assert_eq!(tuned.tried.len(), 3);
    assert!(tuned.tried.iter().all(|trial| trial.timing().is_some()), "{:?}", tuned.tried);
    assert!(ROUTES.map(by).contains(&tuned.knobs));
    let mut cache = TuneCache::new();
    cache.remember(&ctx, &spec, &tuned).unwrap();
    assert_eq!(cache.knobs(&ctx, &spec), tuned.knobs);
    // Vectors that one route cannot split: it is refused, the others are timed.
    for (rows, gemv) in [(64, true), (63, false)] {
        let spec = Routes(of_rows(rows, 12, ctx.caps()));
        let tuned = ctx.tune_with(&spec, &super::timing::hasty(), |_, _| ()).unwrap();
        let timed: Vec<_> = tuned.tried.iter().map(|trial| trial.timing().is_some()).collect();
        assert_eq!(timed, [gemv, true, true]);
        assert!(gemv || tuned.knobs.route != Some(Route::Gemv));
    }
}

#[test]
fn candidates_name_every_route_that_takes_the_vectors() {
    let caps = Caps::webgpu();
    for (rows, batch, routes) in
        [(64, 5, &ROUTES[..]), (64, 9, &ROUTES), (63, 9, &ROUTES[1..]), (64, 65, &ROUTES[1..])]
    {
        let candidates = of_rows(rows, batch, &caps).candidates(&caps);
        assert_eq!(candidates[0], Knobs::DEFAULT);
        for route in ROUTES {
            let named = candidates.iter().any(|knobs| knobs.route == Some(route));
            assert_eq!(named, routes.contains(&route), "{route:?} for {rows} and {batch}");
        }
    }
}
