//! Numbers of the bindings, and which of them a launch has.

use crate::launch::{Access, Binding};

/// Number of the binding of new keys.
pub const KEYS: u32 = 1;
/// Number of the binding of new values.
pub const VALUES: u32 = 2;
/// Number of the heads' binding.
pub const HEADS: u32 = 3;
/// Number of the page table's binding.
pub const PAGE_TABLE: u32 = 4;
/// Number of the step's binding.
pub const STEP: u32 = 5;
/// Number of the binding of the cache's keys.
pub const KEY_WORDS: u32 = 6;
/// Number of the binding of the cache's values.
pub const VALUE_WORDS: u32 = 7;
/// Number of the binding of the keys' params.
pub const KEY_PARAMS: u32 = 8;
/// Number of the binding of the values' params.
pub const VALUE_PARAMS: u32 = 9;
/// Number of the angles' binding.
pub const ANGLES: u32 = 10;
/// Number of the positions' binding.
pub const POSITIONS: u32 = 11;

const PARAMS_BINDING: Binding = Binding::new(0, "params", Access::Uniform);
const KEYS_BINDING: Binding = Binding::new(KEYS, "inputs", Access::Read);
const VALUES_BINDING: Binding = Binding::new(VALUES, "inputs", Access::Read);
const HEADS_BINDING: Binding = Binding::new(HEADS, "heads", Access::Read);
const PAGES_BINDING: Binding = Binding::new(PAGE_TABLE, "page_table", Access::Read);
const STEP_BINDING: Binding = Binding::new(STEP, "step", Access::Read);
const KEY_WORDS_BINDING: Binding = Binding::new(KEY_WORDS, "words", Access::ReadWrite);
const VALUE_WORDS_BINDING: Binding = Binding::new(VALUE_WORDS, "words", Access::ReadWrite);
const KEY_PARAMS_BINDING: Binding = Binding::new(KEY_PARAMS, "row_params", Access::ReadWrite);
const VALUE_PARAMS_BINDING: Binding = Binding::new(VALUE_PARAMS, "row_params", Access::ReadWrite);
const ANGLES_BINDING: Binding = Binding::new(ANGLES, "angles", Access::Read);
const POSITIONS_BINDING: Binding = Binding::new(POSITIONS, "positions", Access::ReadWrite);

/// The bindings of the keys' launch: which of params, angles and positions there are; what is not is
/// not declared either.
pub(super) fn key_bindings(scaled: bool, rotary: bool, positions: bool) -> &'static [Binding] {
    use self::{
        ANGLES_BINDING as A, HEADS_BINDING as H, KEY_PARAMS_BINDING as R, KEY_WORDS_BINDING as W,
        KEYS_BINDING as K, PAGES_BINDING as T, PARAMS_BINDING as P, POSITIONS_BINDING as N,
        STEP_BINDING as S,
    };
    match (scaled, rotary, positions) {
        (false, false, false) => &[P, K, H, T, S, W],
        (false, false, true) => &[P, K, H, T, S, W, N],
        (false, true, false) => &[P, K, H, T, S, W, A],
        (false, true, true) => &[P, K, H, T, S, W, A, N],
        (true, false, false) => &[P, K, H, T, S, W, R],
        (true, false, true) => &[P, K, H, T, S, W, R, N],
        (true, true, false) => &[P, K, H, T, S, W, R, A],
        (true, true, true) => &[P, K, H, T, S, W, R, A, N],
    }
}

/// The bindings of the values' launch.
pub(super) fn value_bindings(scaled: bool) -> &'static [Binding] {
    use self::{
        HEADS_BINDING as H, PAGES_BINDING as T, PARAMS_BINDING as P, STEP_BINDING as S,
        VALUE_PARAMS_BINDING as R, VALUE_WORDS_BINDING as W, VALUES_BINDING as V,
    };
    if scaled { &[P, V, H, T, S, W, R] } else { &[P, V, H, T, S, W] }
}
