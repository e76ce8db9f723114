//! The index arithmetic of `matrix_tile.wgsl`, copied, against plain products: no device that runs
//! cooperative matrices has been at hand, and a wrong index compiles.

use super::*;
use crate::launch::{Dialect, MatrixShape, Spec as _};
use crate::linear::gemm::Block;
use crate::linear::{Activation, Gemm};

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

/// The shader's constants.
struct Indices {
    rows: usize,
    vectors: usize,
    runs: usize,
    share: (usize, usize),
    lanes: usize,
}

impl Indices {
    fn of(tile: &Tile) -> Self {
        let share = match tile.share {
            Share::OneFragment => (1, 1),
            Share::TwoFragments => (2, 1),
            Share::FourFragments => (2, 2),
            other => panic!("{other:?}"),
        };
        Self {
            rows: tile.rows() as usize,
            vectors: tile.vectors as usize,
            runs: tile.runs() as usize,
            share,
            lanes: tile.workgroup() as usize,
        }
    }

    fn pitch(&self) -> usize {
        8 * self.runs + 8
    }

    fn share_row(&self, subgroup: usize) -> usize {
        subgroup % (self.rows / (16 * self.share.0)) * 16 * self.share.0
    }

    fn share_vector(&self, subgroup: usize) -> usize {
        subgroup / (self.rows / (16 * self.share.0)) * 16 * self.share.1
    }

    /// What every lane stages of one matrix, `[places, columns]`.
    fn stage(&self, places: usize, value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let mut tile = vec![f32::NAN; places * self.pitch()];
        for lane in 0..self.lanes {
            let (own, place) = (lane % self.runs, lane / self.runs);
            for col in (0..8).filter(|_| place < places) {
                tile[place * self.pitch() + 8 * own + col] = value(place, 8 * own + col);
            }
        }
        tile
    }

    /// The products of one step as the shader stores them: `(vector, row, sum)`.
    fn products(&self, w: &[f32], x: &[f32]) -> Vec<(usize, usize, f32)> {
        let (pitch, subgroups) = (self.pitch(), self.lanes / 32);
        let mut stored = Vec::new();
        for (down, right) in (0..self.share.0).flat_map(|d| (0..self.share.1).map(move |r| (d, r)))
        {
            let mut finished = vec![f32::NAN; subgroups * 256];
            for subgroup in 0..subgroups {
                let row = self.share_row(subgroup) * pitch + down * 16 * pitch;
                let vector = self.share_vector(subgroup) * pitch + right * 16 * pitch;
                let mut sums = [[0.0f32; 16]; 16];
                for col in (0..8 * self.runs).step_by(16) {
                    for (m, sums) in sums.iter_mut().enumerate() {
                        for (n, sum) in sums.iter_mut().enumerate() {
                            for k in 0..16 {
                                // coopLoadT takes rows, coopLoad columns, PITCH apart.
                                let a = w[row + col + m * pitch + k];
                                let b = x[vector + col + n * pitch + k];
                                *sum += a * b;
                            }
                        }
                    }
                }
                for (m, sums) in sums.iter().enumerate() {
                    for (n, sum) in sums.iter().enumerate() {
                        // coopStore writes columns, 16 apart.
                        finished[subgroup * 256 + n * 16 + m] = *sum;
                    }
                }
            }
            for lane in 0..self.lanes {
                let (subgroup, n, m) = (lane / 32, lane % 32 / 2, lane % 2 * 8);
                let at = subgroup * 256 + n * 16 + m;
                let left = self.share_vector(subgroup) + 16 * right + n;
                let top = self.share_row(subgroup) + 16 * down + m;
                for (i, sum) in finished[at..at + 8].iter().enumerate() {
                    stored.push((left, top + i, *sum));
                }
            }
        }
        stored
    }
}

/// Every tile by matrices that knobs and batches can ask for.
fn tiles() -> Vec<Tile> {
    let mut all = Vec::new();
    for rows in ROWS {
        for workgroup in [64, 128, 256, 512] {
            for batch in [1, 16, 17, 32, 33, 64, 1000] {
                let (rows, workgroup, matrix) = (Some(rows), Some(workgroup), Some(true));
                let knobs = Knobs { rows, workgroup, matrix, ..Knobs::DEFAULT };
                all.extend(Tile::new("k", &caps(), &knobs, batch, true));
            }
        }
    }
    all
}

#[test]
fn indices_of_matrix_tiles_make_every_product_once() {
    let tiles = tiles();
    assert!(tiles.len() > 20);
    for tile in tiles {
        let indices = Indices::of(&tile);
        let (rows, vectors, depth) = (indices.rows, indices.vectors, 8 * indices.runs);
        // Small whole numbers: sums are exact in any order.
        let w = |row: usize, col: usize| ((row * 7 + col * 3) % 11) as f32 - 5.0;
        let x = |vector: usize, col: usize| ((vector * 5 + col * 2) % 13) as f32 - 6.0;
        let stored = indices.products(&indices.stage(rows, w), &indices.stage(vectors, x));
        let mut y = vec![None; rows * vectors];
        for (vector, row, sum) in stored {
            assert!(y[vector * rows + row].replace(sum).is_none(), "{tile:?}: twice");
        }
        for vector in 0..vectors {
            for row in 0..rows {
                let expected: f32 = (0..depth).map(|col| w(row, col) * x(vector, col)).sum();
                assert_eq!(y[vector * rows + row], Some(expected), "{tile:?}: {vector}, {row}");
            }
        }
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
fn shaders_load_and_store_matrices_as_the_copy_does() {
    use naga::{CooperativeRole as Role, CooperativeSize::Sixteen, Expression, Statement};
    let shapes = [(16, 64, 128), (32, 64, 128), (32, 32, 64), (70, 128, 256), (70, 64, 256)];
    let mut shares = Vec::new();
    for (batch, rows, workgroup) in shapes {
        let (shape, matrix) = ((Some(rows), Some(workgroup)), Some(true));
        let knobs = Knobs { rows: shape.0, workgroup: shape.1, matrix, ..Knobs::DEFAULT };
        let tile = Tile::new("k", &caps(), &knobs, batch, true).unwrap();
        let indices = Indices::of(&tile);
        let (pitch, (down, right)) = (indices.pitch() as u32, indices.share);
        let halves = Block::packed(Activation::F16, 64);
        let spec = Gemm { w: halves, x: halves, ..Gemm::new(batch, 64, 64) };
        let launch = spec.launches(&caps(), &knobs).unwrap().remove(0);
        let module = naga::front::wgsl::parse_str(launch.source(Dialect::Naga).text()).unwrap();
        let (mut a, mut b, mut stores) = (0, 0, 0);
        for (_, function) in module.functions.iter() {
            let number = |at| number(&module, &function.expressions, at);
            for (_, expression) in function.expressions.iter() {
                let Expression::CooperativeLoad { columns, rows, role, data } = expression else {
                    continue;
                };
                assert_eq!((*columns, *rows), (Sixteen, Sixteen));
                assert_eq!(number(data.stride), Some(pitch), "{tile:?}");
                // Rows of A are rows of the tile; columns of B are its vectors.
                assert_eq!(data.row_major, *role == Role::A, "{tile:?}");
                assert_ne!(*role, Role::C);
                *(if *role == Role::A { &mut a } else { &mut b }) += 1;
            }
            for statement in function.body.iter() {
                if let Statement::CooperativeStore { data, .. } = statement {
                    assert_eq!((data.row_major, number(data.stride)), (false, Some(16)));
                    stores += 1;
                }
            }
        }
        assert_eq!((a, b, stores), (down, right, down * right), "{tile:?}");
        shares.push(indices.share);
    }
    for share in [(1, 1), (2, 1), (2, 2)] {
        assert!(shares.contains(&share), "{share:?} of {shares:?}");
    }
}

#[test]
fn matrices_are_the_default_for_halves_where_the_device_has_them() {
    let tile = |caps: &Caps, knobs: Knobs, halves| Tile::new("k", caps, &knobs, 64, halves);
    let base = Knobs::DEFAULT;
    assert!(tile(&caps(), base, true).unwrap().matrix());
    assert!(!tile(&caps(), base, false).unwrap().matrix());
    assert!(!tile(&Caps::webgpu(), base, true).unwrap().matrix());
    assert!(!tile(&caps(), Knobs { matrix: Some(false), ..base }, true).unwrap().matrix());
    // A shape that only lanes can have.
    assert!(!tile(&caps(), Knobs { workgroup: Some(64), ..base }, true).unwrap().matrix());
    let insists = Knobs { matrix: Some(true), ..base };
    let error = tile(&caps(), insists, false).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    // What the device lacks is found with the rest of the needs.
    assert!(tile(&Caps::webgpu(), insists, true).unwrap().needs().matrix);
    for (rows, workgroup) in [(64, 64), (64, 512), (32, 256)] {
        let knobs = Knobs { rows: Some(rows), workgroup: Some(workgroup), ..insists };
        let error = tile(&caps(), knobs, true).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
    }
}

#[test]
fn lanes_take_what_is_too_large_for_matrices() {
    let small = Caps { max_workgroup_bytes: 16 << 10, ..caps() };
    let knobs = |rows, matrix| Knobs { rows: Some(rows), matrix, ..Knobs::DEFAULT };
    let tile =
        |knobs: Knobs, others| Tile::beside("k", &small, &knobs, 64, true, |_| others).unwrap();
    let wide = tile(knobs(128, None), 0);
    assert!(!wide.matrix());
    assert_eq!(wide.needs().workgroup_bytes, 12_288);
    // Tables of 5 bits beside 64 rows.
    assert!(tile(knobs(64, None), 0).matrix());
    assert!(!tile(knobs(64, None), 8192).matrix());
    // Who insists hears of the bytes, with the rest of the needs.
    let insists = tile(knobs(128, Some(true)), 0);
    assert!(insists.matrix());
    assert_eq!(insists.needs().workgroup_bytes, 17_408);
}

#[test]
fn candidates_name_matrices_only_where_there_are_some() {
    assert!(Tile::candidates(&Caps::webgpu()).iter().all(|knobs| knobs.matrix.is_none()));
    let all = Tile::candidates(&caps());
    assert!(all.iter().all(|knobs| knobs.matrix.is_some()));
    for batch in [16, 32, 64] {
        for knobs in all.iter().filter(|knobs| knobs.matrix == Some(true)) {
            let tile = Tile::new("k", &caps(), knobs, batch, true);
            assert!(tile.is_ok() || knobs.workgroup > Some(2 * knobs.rows.unwrap()), "{knobs:?}");
        }
    }
}
