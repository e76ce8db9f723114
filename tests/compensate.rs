//! Where the list comes from, and how many workgroups there are, do not change a bit of what is
//! compensated.

use fewbytes::launch::{Knobs, Spec as _};
use fewbytes::linear::compensate::{RESIDUAL, SCALES, Source, X, Y};
use fewbytes::linear::residual::{ResidualElement, ResidualLayout};
use fewbytes::linear::select::Budget;
use fewbytes::linear::select_channels::{LIST, Method};
use fewbytes::linear::{Activation, Compensate, SelectChannels};
use fewbytes_wgpu::{Arg, Context, Features, adapters};

/// Noise that is at once codes, f16 and f32, finite as all of them.
fn noise(words: usize, seed: u64) -> Vec<u32> {
    let mut state = seed;
    let word = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32 & 0xbfff_bfff
    };
    (0..words).map(word).collect()
}

fn compensated(ctx: &Context, spec: &Compensate, knobs: &Knobs) -> Vec<u8> {
    let layout = &spec.layout;
    let upload = |words: usize, seed| [ctx.upload::<u32>(&noise(words, seed)).unwrap()];
    let residual = upload(layout.words(), 1);
    let scales = upload(layout.padded_rows() / 2, 2);
    let x = upload(layout.cols(), 3);
    let list = [ctx.alloc::<u32>(spec.budget.k()).unwrap()];
    let y = [ctx.alloc::<u8>(4 * layout.rows()).unwrap()];
    let mut launches = Vec::new();
    if spec.source == Source::List {
        let select =
            SelectChannels { activation: spec.activation, ..SelectChannels::new(spec.budget) };
        launches.extend(select.launches(ctx.caps(), knobs).unwrap());
    }
    launches.extend(spec.launches(ctx.caps(), knobs).unwrap());
    let args = [(RESIDUAL, &residual), (SCALES, &scales), (X, &x), (LIST, &list)]
        .map(|(binding, pieces)| Arg { binding, pieces });
    let args = [&args[..], &[Arg { binding: Y, pieces: &y }]].concat();
    let bound = ctx.plan_launches(launches).unwrap().bind(&args, None).unwrap();
    ctx.submit(|pass| bound.record(pass)).unwrap();
    ctx.block_on(ctx.read::<u8>(&y[0])).unwrap()
}

#[test]
fn neither_source_nor_workgroups_change_a_bit() {
    let found = pollster::block_on(adapters());
    let adapter = found.first().expect("an adapter: run `cargo xtask test`, which installs one");
    let ctx = pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
    let own = Source::Own { method: Method::ChunkRadix, weighted: false };
    // Several chunks at once, one at a time with a list too long, a number that no eight divides.
    for (cols, k_chunk) in [(3000, 64), (5000, 601), (2600, 7)] {
        for activation in [Activation::F32, Activation::F16] {
            let layout = ResidualLayout::new(1500, cols, ResidualElement::Int4).unwrap();
            let new = Compensate::new(layout, Budget::new(cols, k_chunk).unwrap());
            let new = Compensate { activation, output: activation, ..new };
            let first = compensated(&ctx, &new, &Knobs::DEFAULT);
            assert!(first.iter().any(|byte| *byte != 0));
            for source in [Source::List, own] {
                for segments in [1, 2, 4, 6] {
                    let knobs = Knobs { rows: Some(256 * segments), ..Knobs::DEFAULT };
                    let spec = Compensate { source, ..new };
                    let same = compensated(&ctx, &spec, &knobs) == first;
                    assert!(same, "{cols} {k_chunk} {source:?} {segments}");
                }
            }
        }
    }
}
