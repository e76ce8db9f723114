//! What passes that follow each other share.

use crate::{Context, Scalar, View};
use fewbytes::Result;
use std::marker::PhantomData;

/// Plans, each made once; those that a whole context did not use are forgotten.
pub(super) struct Plans<P> {
    all: Vec<(bool, P)>,
}

impl<P> Default for Plans<P> {
    fn default() -> Self {
        Self { all: Vec::new() }
    }
}

impl<P> Plans<P> {
    /// Uses the plan that is looked for, or a new one.
    pub(super) fn with<R>(
        &mut self,
        is: impl Fn(&P) -> bool,
        make: impl FnOnce() -> Result<P>,
        then: impl FnOnce(&P) -> Result<R>,
    ) -> Result<R> {
        let plan = match self.all.iter().position(|(_, plan)| is(plan)) {
            Some(at) => self.all.swap_remove(at).1,
            None => make()?,
        };
        let done = then(&plan);
        self.all.push((true, plan));
        done
    }

    /// Another context begins.
    pub(super) fn forget(&mut self) {
        self.all.retain(|(used, _)| *used);
        self.all.iter_mut().for_each(|(used, _)| *used = false);
    }
}

/// Memory that is replaced by more where it does not suffice.
pub(super) struct Grown<T> {
    view: Option<View>,
    element: PhantomData<T>,
}

impl<T> Default for Grown<T> {
    fn default() -> Self {
        Self { view: None, element: PhantomData }
    }
}

impl<T: Scalar> Grown<T> {
    /// So many elements; what is in them is whatever was.
    pub(super) fn of(&mut self, ctx: &Context, len: usize) -> Result<View> {
        let view = match self.view.take() {
            Some(view) if view.len() >= len as u64 => view,
            _ => ctx.alloc::<T>(len)?,
        };
        self.view.insert(view).slice(0..len)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.view.as_ref().map_or(0, View::bytes)
    }
}
