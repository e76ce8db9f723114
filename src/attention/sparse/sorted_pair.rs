//! Sorted columns, and others like them while they are made.

use super::{INDEX_MAP, IndexShape, ORDER, OTHER_ORDER, OTHER_SORTED, SORTED};
use crate::Result;
use crate::attention::places::whole;
use crate::launch::{Access, Binding, Caps, Operand, Part, part};
use std::fmt::Write as _;

/// Which sorted columns: a step that merges them reads some and writes the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortedPair {
    /// `sorted` and `order` of the index.
    Index,
    /// Two more tensors like them.
    Other,
}

impl SortedPair {
    /// Numbers of the bindings of numbers and of rows.
    pub const fn bindings(self) -> [u32; 2] {
        match self {
            Self::Index => [SORTED, ORDER],
            Self::Other => [OTHER_SORTED, OTHER_ORDER],
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Index => Self::Other,
            Self::Other => Self::Index,
        }
    }

    pub(in crate::attention) const fn written(self) -> [Binding; 2] {
        let [sorted, order] = self.bindings();
        [
            Binding::new(sorted, "sorted_out", Access::ReadWrite),
            Binding::new(order, "order_out", Access::ReadWrite),
        ]
    }

    pub(in crate::attention) const fn read(self) -> [Binding; 2] {
        let [sorted, order] = self.bindings();
        [
            Binding::new(sorted, "sorted_in", Access::Read),
            Binding::new(order, "order_in", Access::Read),
        ]
    }

    /// Constants of a shader that writes these, and reads the others if any.
    pub(in crate::attention) fn preamble(self, reads: bool) -> String {
        let [sorted, order] = self.bindings();
        let mut text =
            format!("const SORTED_OUT: u32 = {sorted}u;\nconst ORDER_OUT: u32 = {order}u;\n");
        if reads {
            let [sorted, order] = self.other().bindings();
            let _ = write!(
                text,
                "const SORTED_IN: u32 = {sorted}u;\nconst ORDER_IN: u32 = {order}u;\n"
            );
        }
        text
    }
}

impl IndexShape {
    /// What steps that sort bind, each whole.
    pub(in crate::attention) fn sorted_operands(
        &self,
        bindings: &[Binding],
        caps: &Caps,
    ) -> Result<Vec<Operand>> {
        let numbers = bindings.iter().map(|binding| binding.number).filter(|number| *number > 0);
        let of = |number| match number {
            OTHER_SORTED => whole(number, "other sorted columns of an index", self.words(), caps),
            OTHER_ORDER => whole(number, "other order of an index", self.order_words(), caps),
            _ => self.operand(number, caps),
        };
        numbers.map(of).collect()
    }

    /// Parts that write sorted columns.
    pub(in crate::attention) fn sorted_parts(&self) -> Vec<Part> {
        vec![
            part!("attention/sparse/index_map.wgsl"),
            part!("attention/sparse/sorted_words.wgsl"),
            match self.narrow() {
                true => part!("attention/sparse/order_narrow.wgsl"),
                false => part!("attention/sparse/order_wide.wgsl"),
            },
        ]
    }

    /// The part that reads rows of sorted columns.
    pub(in crate::attention) fn order_part(&self) -> Part {
        match self.narrow() {
            true => part!("attention/sparse/order_in_narrow.wgsl"),
            false => part!("attention/sparse/order_in_wide.wgsl"),
        }
    }

    /// Bytes that an element of sorted columns has.
    pub(in crate::attention) fn sorted_bytes(&self) -> u64 {
        if self.narrow() { 4 } else { 6 }
    }

    /// Columns of all heads.
    pub(in crate::attention) fn column_count(&self) -> u64 {
        u64::from(self.heads) * u64::from(self.dim)
    }
}

pub(in crate::attention) const INDEX_MAP_READ: Binding =
    Binding::new(INDEX_MAP, "index_map", Access::Read);
