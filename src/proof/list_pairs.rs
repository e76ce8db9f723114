//! The case table of `list_pairs`.

use super::bitplane::{Squeeze, generator};
use super::select_pairs::masked;
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::attention::ListPairs;
use crate::attention::list_pairs::{BLOCKS, FIRST, MASK, NAME, ROWS, reference};
use crate::launch::{Caps, Knobs, Spec as _};
use rand_chacha::rand_core::Rng as _;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListCase {
    /// Rows of the mask, and those that are listed.
    mask_rows: usize,
    first_row: usize,
    heads: usize,
    n: usize,
    /// Kept pairs of a hundred; of every third head none, of every third all.
    share: u32,
    prefix: u32,
    appended: u32,
    squeeze: Squeeze,
}

const DEFAULT: ListCase = ListCase {
    mask_rows: 12,
    first_row: 4,
    heads: 4,
    n: 3001,
    share: 30,
    prefix: 5,
    appended: 3,
    squeeze: Squeeze::None,
};

pub(super) fn cases() -> Vec<ListCase> {
    let mut all = vec![DEFAULT];
    for n in [1, 8, 31, 32, 33, 2047, 2048, 2049, 10_000] {
        all.push(ListCase { n, ..DEFAULT });
        all.push(ListCase { n, mask_rows: 1, first_row: 0, heads: 1, prefix: 1, ..DEFAULT });
    }
    for (share, prefix, appended) in
        [(0, 1, 0), (0, 0, 700), (100, 0, 0), (100, 600, 0), (1, 300, 257), (99, 0, 1)]
    {
        all.push(ListCase { share, prefix, appended, ..DEFAULT });
    }
    // More blocks than a workgroup has lanes; a grid of two dimensions with spare workgroups.
    all.push(ListCase { mask_rows: 700, first_row: 3, heads: 690, n: 65, ..DEFAULT });
    all.push(ListCase { squeeze: Squeeze::Groups(3), ..DEFAULT });
    all
}

impl ListCase {
    fn keep(&self) -> Vec<bool> {
        let mut rng = generator(&self.name());
        let mut stays = |pair: usize| {
            let share = match (pair / self.n) % 3 {
                1 if self.heads > 1 => 0,
                2 if self.share > 0 => 100,
                _ => self.share,
            };
            rng.next_u32() % 100 < share
        };
        (0..self.mask_rows * self.n).map(&mut stays).collect()
    }
}

impl Case for ListCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { mask_rows, first_row, heads, n, share, prefix, appended, .. } = self;
        let mut name = format!(
            "{heads} from {first_row} of {mask_rows}x{n} {share} % after {prefix} before {appended}"
        );
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs::baseline())]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let keep = self.keep();
        let (mask, blocks) = masked(&keep, self.n);
        let listed = &keep[self.first_row * self.n..][..self.heads * self.n];
        let lists = reference(listed, self.n, self.prefix, self.appended)?;
        let spec = ListPairs {
            n: self.n,
            mask_rows: self.mask_rows,
            first_row: self.first_row,
            heads: self.heads,
            prefix: self.prefix,
            appended: self.appended,
            rows: lists.rows().len() as u32,
        };
        let bytes = |words: &[u32]| bytemuck::cast_slice(words).to_vec();
        let output =
            |binding, words: &[u32]| Output { binding, expected: Expected::Bytes(bytes(words)) };
        Ok(Proof {
            launches: spec.launches(&self.squeeze.apply(caps), knobs)?,
            tensors: vec![
                Tensor::input(MASK, bytes(&mask)),
                Tensor::input(BLOCKS, bytes(&blocks)),
                Tensor::output(FIRST, 4 * lists.first().len()),
                Tensor::output(ROWS, 4 * lists.rows().len()),
            ],
            outputs: vec![output(FIRST, lists.first()), output(ROWS, lists.rows())],
        })
    }
}
