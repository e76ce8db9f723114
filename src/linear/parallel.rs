//! One task for each item, on every core where the feature `rayon` is on.

/// Results in the order of the items, whichever is done first.
pub(crate) fn each<T: Send, U: Send>(items: Vec<T>, task: impl Fn(T) -> U + Sync) -> Vec<U> {
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        items.into_par_iter().map(&task).collect()
    }
    #[cfg(not(feature = "rayon"))]
    {
        items.into_iter().map(task).collect()
    }
}
