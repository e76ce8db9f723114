//! The case table of `attend_scored`.

use super::listed::{Content, DEFAULT, ListedCase};
use crate::attention::KvElement;
use crate::attention::sparse::Share;
use crate::linear::Activation;

pub(super) fn cases() -> Vec<ListedCase> {
    let scored = ListedCase { scored: Some(0.05), ..DEFAULT };
    let mut all = Vec::new();
    let groups = [[4, 1], [1, 1], [3, 2], [2, 3], [16, 1]];
    for (at, dim) in crate::attention::HEAD_DIMS.into_iter().enumerate() {
        let element = KvElement::ALL[at];
        let (queries, rest) = (groups[at], at.is_multiple_of(2));
        all.push(ListedCase { dim, element, queries, rest, ..scored });
    }
    for share in [0.0, 0.1, 1.0] {
        all.push(ListedCase { scored: Some(share), rest: share == 0.1, ..scored });
    }
    all.push(ListedCase { share: Share::Query, queries: [3, 2], rest: true, ..scored });
    all.push(ListedCase { splits: 130, ..scored });
    all.push(ListedCase { all: true, rest: true, ..scored });
    all.push(ListedCase { splits: 1, lengths: &[1000, 0], capacity: 1000, ..scored });
    all.push(ListedCase { lengths: &[0], rest: true, ..scored });
    all.push(ListedCase { output: Activation::F16, lse: false, ..scored });
    all.push(ListedCase { content: Content::Equal, rest: true, ..scored });
    all.push(ListedCase { content: Content::NotNumbers, rest: true, ..scored });
    all
}
