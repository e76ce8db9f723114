//! The case table of `attend_rows`.

use super::listed::{Content, DEFAULT, ListedCase};
use crate::attention::KvElement;
use crate::attention::sparse::Share;
use crate::linear::{Activation, Arithmetic};

pub(super) fn cases() -> Vec<ListedCase> {
    let mut all = Vec::new();
    let groups = [[4, 1], [1, 1], [3, 2], [2, 3], [16, 1]];
    for (at, dim) in crate::attention::HEAD_DIMS.into_iter().enumerate() {
        let element = KvElement::ALL[at];
        let (queries, rest) = (groups[at], at.is_multiple_of(2));
        all.push(ListedCase { dim, element, queries, rest, ..DEFAULT });
    }
    // Every query row has a list of its own; more parts than rows; one part.
    all.push(ListedCase { share: Share::Query, queries: [3, 2], rest: true, ..DEFAULT });
    all.push(ListedCase { splits: 130, ..DEFAULT });
    all.push(ListedCase { splits: 1, lengths: &[1000, 0], capacity: 1000, ..DEFAULT });
    // Nothing is listed, with the rest and without.
    all.push(ListedCase { lengths: &[0], ..DEFAULT });
    all.push(ListedCase { lengths: &[0], rest: true, lse: false, ..DEFAULT });
    let half = Activation::F16;
    all.push(ListedCase { input: half, output: half, dim: 128, softcap: Some(20.0), ..DEFAULT });
    all.push(ListedCase { content: Content::Equal, rest: true, ..DEFAULT });
    all.push(ListedCase { content: Content::NotNumbers, rest: true, ..DEFAULT });
    all.push(ListedCase { content: Content::NotNumbers, ..DEFAULT });
    all.push(ListedCase { content: Content::NotNumbers, lse: false, rest: true, ..DEFAULT });
    all.push(ListedCase { arithmetic: Arithmetic::F16, input: half, dim: 128, ..DEFAULT });
    all
}
