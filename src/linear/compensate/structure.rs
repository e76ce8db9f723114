//! In what order a product and its compensation run.

use super::Source;
use crate::linear::select_channels::Method;

/// How a low-bit product and what compensates it share a device. Source: arXiv 2412.20185, section 4,
/// rearranged for APIs with one queue and no barrier across workgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Structure {
    /// Compensation and product beside each other, each into a buffer of its own; every workgroup of
    /// the compensation selects for itself. One barrier less than [`Structure::Listed`], the
    /// selection done as often as there are workgroups.
    Beside,
    /// The selection first; then compensation, by its list, and product beside each other.
    Listed,
    /// Selection and product beside each other; then the compensation adds to the product. For
    /// residuals in the memory that the weights are in, where reading both at once gains nothing:
    /// no second buffer, nothing to add up.
    After,
}

impl Structure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Beside, Self::Listed, Self::After];

    /// The name in tables and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Beside => "beside",
            Self::Listed => "listed",
            Self::After => "after",
        }
    }

    /// Where the compensation has its channels from.
    pub const fn source(self, method: Method, weighted: bool) -> Source {
        match self {
            Self::Beside => Source::Own { method, weighted },
            Self::Listed | Self::After => Source::List,
        }
    }

    /// Whether the compensation has a buffer of its own, which is to be added to the product.
    pub const fn apart(self) -> bool {
        !matches!(self, Self::After)
    }
}
