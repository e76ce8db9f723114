//! The index arithmetic of `matrix*.wgsl`, copied, against plain products: a wrong index compiles. And that
//! the texts load and store matrices as the copy does.

use super::*;
use crate::attention::{Layout, Prefill};
use crate::launch::{Dialect, Launch, MatrixShape, Spec as _};

/// A device with cooperative matrices.
fn caps() -> Caps {
    Caps {
        f16: true,
        subgroups: true,
        subgroup_min: 32,
        subgroup_max: 32,
        matrices: vec![MatrixShape::HALVES],
        max_invocations: 1024,
        max_workgroup_bytes: 48 << 10,
        ..Caps::webgpu()
    }
}

const MATRIX: Knobs = Knobs { matrix: Some(true), ..Knobs::DEFAULT };

fn spec(dim: usize, element: KvElement, input: Activation) -> Prefill {
    let shape = CacheShape::new(2, dim, element).unwrap();
    let mut layout = Layout::ragged(shape, &[100, 30], 64, 100).unwrap();
    layout.append(40).unwrap();
    let map = RowMap::new(&layout, &[]).unwrap();
    let queries =
        DecodeQueries { q_len: 40, input, output: input, ..DecodeQueries::new(&shape, 3) };
    Prefill::new(queries, &layout, &map).unwrap()
}

fn launch(dim: usize, element: KvElement, knobs: &Knobs) -> Launch {
    spec(dim, element, Activation::F16).launches(&caps(), knobs).unwrap().remove(0)
}

/// Lanes as subgroup and lane of it.
fn lanes() -> impl Iterator<Item = (usize, usize)> {
    (0..4).flat_map(|subgroup| (0..32).map(move |own| (subgroup, own)))
}

/// Where a lane's products and weights lie, each with the other that it is of: `block_of`, `put_weights`
/// and the masks of `masked_block`.
fn block(subgroup: usize, own: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..8).flat_map(move |part| {
        (0..4).map(move |i| {
            let at = 1024 * subgroup + own + 128 * part + 32 * i;
            (at, own / 16 + 8 * part + 2 * i)
        })
    })
}

fn kept_place(subgroup: usize, own: usize) -> usize {
    16 * subgroup + own % 16
}

/// A tile as it is staged, garbage between its vectors.
fn staged(dim: usize, value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let pitch = dim + 8;
    let mut tile = vec![f32::NAN; 64 * pitch];
    for place in 0..64 {
        for quad in 0..dim / 4 {
            for i in 0..4 {
                tile[place * pitch + 4 * quad + i] = value(place, 4 * quad + i);
            }
        }
    }
    tile
}

/// `sums [16, 16] += a [16, 16] b [16, 16]`, of elements given by row and column.
fn multiply_add(
    sums: &mut [f32],
    a: impl Fn(usize, usize) -> f32,
    b: impl Fn(usize, usize) -> f32,
) {
    for (at, sum) in sums.iter_mut().enumerate() {
        *sum += (0..16).map(|k| a(at / 16, k) * b(k, at % 16)).sum::<f32>();
    }
}

#[test]
fn every_product_and_every_weighted_value_is_made_once() {
    for dim in [64, 80, 96, 128] {
        let pitch = dim + 8;
        // Small whole numbers: sums are exact in any order.
        let q = |row: usize, col: usize| ((row * 7 + col * 3) % 11) as f32 - 5.0;
        let k = |key: usize, col: usize| ((key * 5 + col * 2) % 13) as f32 - 6.0;
        let v = |key: usize, col: usize| ((key * 3 + col * 5) % 7) as f32 - 3.0;
        let (kept, tile) = (staged(dim, q), staged(dim, k));
        let mut scores = vec![f32::NAN; 4096];
        for subgroup in 0..4 {
            for first in (0..64).step_by(16) {
                let mut sums = [0.0; 256];
                for col in (0..dim).step_by(16) {
                    // coopLoadT takes rows, coopLoad columns, PITCH apart.
                    let a = |m, k| kept[16 * subgroup * pitch + col + m * pitch + k];
                    multiply_add(&mut sums, a, |k, n| tile[first * pitch + col + n * pitch + k]);
                }
                for (at, sum) in sums.iter().enumerate() {
                    // coopStore writes columns, 16 apart.
                    scores[1024 * subgroup + 16 * first + at % 16 * 16 + at / 16] = *sum;
                }
            }
        }
        // Weights are what products were, so that every one is another's.
        let mut weights = vec![f32::NAN; 4096];
        let mut seen = vec![0; 4096];
        for (subgroup, own) in lanes() {
            let row = kept_place(subgroup, own);
            for (at, key) in block(subgroup, own) {
                let expected: f32 = (0..dim).map(|col| q(row, col) * k(key, col)).sum();
                assert_eq!(scores[at], expected, "{dim}: {row}, {key}");
                weights[at] = ((row * 3 + key) % 5) as f32;
                seen[64 * row + key] += 1;
            }
        }
        assert!(seen.iter().all(|n| *n == 1));
        let tile = staged(dim, v);
        for subgroup in 0..4 {
            for fragment in 0..dim / 16 {
                let mut sums = [0.0; 256];
                for first in (0..64).step_by(16) {
                    let a = |m, k| weights[1024 * subgroup + 16 * first + k * 16 + m];
                    let at = first * pitch + 16 * fragment;
                    multiply_add(&mut sums, a, |k, n| tile[at + k * pitch + n]);
                }
                let mut stored = vec![f32::NAN; 256];
                for (at, sum) in sums.iter().enumerate() {
                    stored[at % 16 * 16 + at / 16] = *sum;
                }
                let mut written = vec![None; 256];
                for own in 0..32 {
                    let row = kept_place(subgroup, own);
                    // `scale_scores` has nothing but the lane's row.
                    assert!((0..8).all(|i| (own + 32 * i) % 16 == row % 16));
                    for quad in (own / 16..4).step_by(2) {
                        for i in 0..4 {
                            let at = 64 * quad + own % 16 + 16 * i;
                            let col = 16 * fragment + 4 * quad + i;
                            let expected: f32 =
                                (0..64).map(|key| ((row * 3 + key) % 5) as f32 * v(key, col)).sum();
                            assert_eq!(stored[at], expected, "{dim}: {row}, {col}");
                            let place = 16 * (row % 16) + 4 * quad + i;
                            assert!(written[place].replace(()).is_none());
                        }
                    }
                }
                assert!(written.iter().all(Option::is_some));
            }
        }
    }
}

#[test]
fn every_piece_of_a_tile_is_staged_once() {
    for pieces in [4, 5, 6, 8, 10, 12, 16] {
        let ahead = usize::div_ceil(pieces, 2);
        let mut seen = vec![0; 64 * pieces];
        for index in 0..128 {
            for unit in (0..ahead).map(|i| index + 128 * i).filter(|unit| *unit < 64 * pieces) {
                seen[unit / pieces * pieces + unit % pieces] += 1;
            }
        }
        assert!(seen.iter().all(|n| *n == 1), "{pieces}");
    }
}

/// The number that an expression stands for.
fn number(
    module: &naga::Module,
    expressions: &naga::Arena<naga::Expression>,
    at: naga::Handle<naga::Expression>,
) -> Option<u32> {
    match expressions[at] {
        naga::Expression::Literal(naga::Literal::U32(number)) => Some(number),
        naga::Expression::Constant(constant) => {
            number(module, &module.global_expressions, module.constants[constant].init)
        }
        _ => None,
    }
}

#[test]
fn texts_load_and_store_matrices_as_the_copy_does() {
    use naga::{CooperativeRole as Role, Expression, Statement};
    for dim in [64, 80, 96, 128] {
        let launch = launch(dim, KvElement::F16, &MATRIX);
        let module = naga::front::wgsl::parse_str(launch.source(Dialect::Naga).text()).unwrap();
        let mut loads = std::collections::BTreeMap::new();
        let mut stores = 0;
        for (_, function) in module.functions.iter() {
            let number = |at| number(&module, &function.expressions, at);
            for (_, expression) in function.expressions.iter() {
                let Expression::CooperativeLoad { role, data, .. } = expression else { continue };
                let kind = (format!("{role:?}"), data.row_major, number(data.stride).unwrap());
                *loads.entry(kind).or_insert(0) += 1;
                assert_ne!((*role, data.row_major), (Role::C, true));
            }
            for statement in function.body.iter() {
                if let Statement::CooperativeStore { data, .. } = statement {
                    assert_eq!((data.row_major, number(data.stride)), (false, Some(16)));
                    stores += 1;
                }
            }
        }
        let (pitch, fragments) = (dim as u32 + 8, dim / 16);
        let of = |role: &str, rows, stride| loads.get(&(role.to_owned(), rows, stride)).copied();
        // What is kept by rows, weights by columns; keys by columns, values by rows; sums as stored.
        assert_eq!(of("A", true, pitch), Some(fragments), "{loads:?}");
        assert_eq!(of("A", false, 16), Some(1));
        assert_eq!(
            (of("B", false, pitch), of("B", true, pitch)),
            (Some(fragments), Some(fragments))
        );
        assert_eq!((of("C", false, 16), loads.len()), (Some(fragments), 5));
        assert_eq!(stores, 4 + 2 * fragments);
    }
}

#[test]
fn matrices_are_the_default_where_numbers_are_f16_and_the_device_has_them() {
    let variant = |dim, element, knobs| launch(dim, element, &knobs).variant();
    assert_eq!(variant(128, KvElement::F16, Knobs::DEFAULT), "matrix");
    assert_eq!(variant(64, KvElement::Int8, Knobs::DEFAULT), "matrix");
    assert_eq!(variant(128, KvElement::F16, Knobs::baseline()), "baseline");
    for (dim, element) in
        [(256, KvElement::F16), (128, KvElement::F32), (64, KvElement::Bf16), (64, KvElement::Int4)]
    {
        assert_eq!(variant(dim, element, Knobs::DEFAULT), "baseline");
        let error = spec(dim, element, Activation::F16).launches(&caps(), &MATRIX).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
    let f32 = spec(128, KvElement::F16, Activation::F32);
    assert_eq!(f32.launches(&caps(), &Knobs::DEFAULT).unwrap()[0].variant(), "baseline");
    // Outputs of f32 are of f32's accuracy, unless f16's is asked for.
    let halves = spec(128, KvElement::F16, Activation::F16);
    let queries = DecodeQueries { output: Activation::F32, ..halves.queries };
    let whole = Prefill { queries, ..halves };
    assert_eq!(whole.launches(&caps(), &Knobs::DEFAULT).unwrap()[0].variant(), "baseline");
    let queries = DecodeQueries { arithmetic: Arithmetic::F16, ..queries };
    let asked = Prefill { queries, ..halves };
    assert_eq!(asked.launches(&caps(), &Knobs::DEFAULT).unwrap()[0].variant(), "matrix");
    // Less memory, or no matrices.
    let small = Caps { max_workgroup_bytes: 32 << 10, ..caps() };
    for caps in [small, Caps::webgpu()] {
        assert_eq!(halves.launches(&caps, &Knobs::DEFAULT).unwrap()[0].variant(), "baseline");
        let error = halves.launches(&caps, &MATRIX).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
}
