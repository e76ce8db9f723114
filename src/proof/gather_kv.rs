//! The case table of `gather_kv`.

use super::append_kv::Placed;
use super::bitplane::{Squeeze, generator};
use super::{Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::attention::gather_kv::{
    FIRST, FROM_HEADS, FROM_PAGES, NAME, ROWS, TO_HEADS, TO_PAGES, reference,
};
use crate::attention::{CacheShape, GatherKv, HEAD_DIMS, KeepLists, KvElement, Places};
use crate::launch::{Caps, Knobs, Spec as _};
use rand_chacha::rand_core::Rng as _;

/// Which rows stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// About so many of 100.
    Some(u32),
    All,
    /// All of one head, none of the others.
    OneHead,
    /// A single row.
    OneRow,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct GatherCase {
    heads: usize,
    dim: usize,
    element: KvElement,
    from: Placed,
    to: Placed,
    /// Rows appended to the old cache.
    appended: u32,
    keep: Keep,
    positions: bool,
    workgroup: Option<u32>,
    squeeze: Squeeze,
}

const DEFAULT: GatherCase = GatherCase {
    heads: 3,
    dim: 64,
    element: KvElement::F16,
    from: Placed::Ragged,
    to: Placed::Ragged,
    appended: 40,
    keep: Keep::Some(40),
    positions: false,
    workgroup: None,
    squeeze: Squeeze::None,
};

pub(super) fn cases() -> Vec<GatherCase> {
    let mut all = Vec::new();
    let layouts = [Placed::Plain, Placed::Ragged, Placed::Paged(16), Placed::Paged(32)];
    for (at, element) in KvElement::ALL.into_iter().enumerate() {
        let heads = [1, 3, 8][at % 3];
        let positions = at % 2 == 0;
        let default = GatherCase { element, dim: HEAD_DIMS[at], heads, positions, ..DEFAULT };
        all.push(GatherCase { from: layouts[at % 4], to: Placed::Ragged, ..default });
        all.push(GatherCase { from: Placed::Paged(16), to: Placed::Paged(32), dim: 80, ..default });
    }
    for keep in [Keep::All, Keep::OneHead, Keep::OneRow, Keep::Some(5), Keep::Some(95)] {
        all.push(GatherCase { keep, heads: 8, positions: true, ..DEFAULT });
        let (from, to) = (Placed::Plain, Placed::Paged(16));
        all.push(GatherCase { keep, from, to, element: KvElement::Int4, ..DEFAULT });
    }
    // All of every head of a plain cache into another plain one.
    let (from, to) = (Placed::Plain, Placed::Plain);
    all.push(GatherCase { from, to, keep: Keep::All, appended: 48, ..DEFAULT });
    all.push(GatherCase { workgroup: Some(256), heads: 8, keep: Keep::All, ..DEFAULT });
    // A grid of two dimensions with spare workgroups.
    let squeeze = Squeeze::Groups(5);
    all.push(GatherCase { squeeze, workgroup: Some(8), heads: 8, dim: 256, ..DEFAULT });
    all
}

impl GatherCase {
    fn lists(&self, lengths: &[u32]) -> Result<KeepLists> {
        let mut rng = generator(&self.name());
        let mut list = |head: usize, length: u32| -> Vec<u32> {
            let mut stays = |row: u32| match self.keep {
                Keep::Some(percent) => rng.next_u32() % 100 < percent || (head, row) == (0, 0),
                Keep::All => true,
                Keep::OneHead => head == 1,
                Keep::OneRow => (head, row) == (self.heads - 1, length - 1),
            };
            (0..length).filter(|row| stays(*row)).collect()
        };
        let lists: Vec<_> =
            lengths.iter().enumerate().map(|(head, length)| list(head, *length)).collect();
        KeepLists::new(&lists, lengths)
    }
}

impl Case for GatherCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { heads, dim, element, from, to, keep, .. } = self;
        let mut name = format!("{heads}x{dim} {} {from:?} to {to:?} {keep:?}", element.name());
        if self.positions {
            name += " positions";
        }
        if let Some(lanes) = self.workgroup {
            name += &format!(" {lanes} lanes");
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs { workgroup: self.workgroup, ..Knobs::baseline() })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let shape = CacheShape::new(self.heads, self.dim, self.element)?;
        let mut old = self.from.layout(shape, &self.from.kept(self.heads), 48)?;
        old.append(self.appended)?;
        let keep = self.lists(&old.lengths())?;
        let mut new = self.to.layout(shape, &keep.lengths(), 48)?;
        if self.to == Placed::Plain {
            new.append(self.appended)?;
        }
        let (from_view, to_view) = (old.view(), new.view());
        let spec = GatherKv {
            shape,
            rows: keep.rows().len() as u32,
            from: Places::of(&old),
            to: Places::of(&new),
            positions: self.positions,
        };
        let bytes = |words: &[u32]| bytemuck::cast_slice(words).to_vec();
        let mut tensors = vec![
            Tensor::input(FROM_HEADS, bytes(&from_view.head_words())),
            Tensor::input(TO_HEADS, bytes(&to_view.head_words())),
            Tensor::input(FIRST, bytes(keep.first())),
            Tensor::input(ROWS, bytes(keep.rows())),
        ];
        for (binding, view, places) in
            [(FROM_PAGES, &from_view, &spec.from), (TO_PAGES, &to_view, &spec.to)]
        {
            if places.page_rows > 0 {
                let mut table = view.page_table.clone();
                table.resize(places.entries as usize, u32::MAX);
                tensors.push(Tensor::input(binding, bytes(&table)));
            }
        }
        let mut rng = generator(&format!("words {}", self.name()));
        let mut outputs = Vec::new();
        for tensor in spec.tensors() {
            let each = spec.row_words(tensor);
            let source: Vec<u32> =
                (0..spec.from.rows as usize * each).map(|_| rng.next_u32()).collect();
            let poison = u32::from_ne_bytes([POISON; 4]);
            let mut target = vec![poison; spec.to.rows as usize * each];
            reference(&keep, each, (&from_view, &source), (&to_view, &mut target))?;
            let (from, to) = tensor.bindings();
            tensors.push(Tensor::input(from, bytes(&source)));
            tensors.push(Tensor::output(to, 4 * target.len()));
            outputs.push(Output { binding: to, expected: Expected::Bytes(bytes(&target)) });
        }
        let launches = spec.launches(&self.squeeze.apply(caps), knobs)?;
        Ok(Proof { launches, tensors, outputs })
    }
}
