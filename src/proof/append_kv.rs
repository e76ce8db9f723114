//! The case table of `append_kv`.

use super::bitplane::{Squeeze, generator, stored, uniform};
use super::{Case, Expected, Output, POISON, Proof, Tensor};
use crate::Result;
use crate::attention::append_kv::{
    ANGLES, HEADS, KEY_PARAMS, KEY_WORDS, KEYS, NAME, NewRow, PAGE_TABLE, POSITIONS, Pairing,
    Rotary, STEP, Step, StoredRow, VALUE_PARAMS, VALUE_WORDS, VALUES, reference, rotary_angles,
    rotated,
};
use crate::attention::{AppendKv, CacheShape, HEAD_DIMS, KvElement, Layout, Places};
use crate::launch::{Caps, Knobs, Spec as _};
use crate::linear::Activation;
use half::f16;
use rand_chacha::rand_core::Rng as _;

/// How rows are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    Plain,
    Ragged,
    Paged(u32),
}

impl Placed {
    /// A layout with such kept rows and room for 48 more of each head, in pages some of which are taken.
    pub(super) fn layout(self, shape: CacheShape, kept: &[u32], room: u32) -> Result<Layout> {
        let most = kept.iter().copied().max().unwrap_or(0);
        match self {
            Self::Plain => Layout::plain(shape, room),
            Self::Ragged => Layout::ragged(shape, kept, room, most),
            Self::Paged(page_rows) => {
                let pages = kept.iter().map(|kept| (kept + room).div_ceil(page_rows) + 1).sum();
                Layout::paged(shape, kept, page_rows, pages, most)
            }
        }
    }

    /// Kept rows that a layout of the kind can begin with.
    pub(super) fn kept(self, heads: usize) -> Vec<u32> {
        let of = |head| if self == Self::Plain { 0 } else { [5, 0, 31][head % 3] };
        (0..heads).map(of).collect()
    }
}

/// What is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// Between -1 and 1.
    Random,
    /// Rows of zeros of either sign, of one number, of the smallest and of the largest numbers.
    Edges,
    /// NaN and infinities among others.
    NotFinite,
    /// Multiples of a code and half a code.
    Halves,
}

/// How keys are turned.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turn {
    None,
    /// By angles of so few bits that nothing is rounded.
    Coarse(Pairing, usize),
    /// By those of far positions.
    Real(Pairing, usize),
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct AppendCase {
    heads: usize,
    dim: usize,
    element: KvElement,
    placed: Placed,
    before: u32,
    tokens: u32,
    input: Activation,
    numbers: Numbers,
    turn: Turn,
    positions: bool,
    /// Heads of the input before the cache's, and after.
    others: (usize, usize),
    rows: Option<u32>,
    squeeze: Squeeze,
}

const DEFAULT: AppendCase = AppendCase {
    heads: 3,
    dim: 64,
    element: KvElement::F16,
    placed: Placed::Ragged,
    before: 4,
    tokens: 3,
    input: Activation::F32,
    numbers: Numbers::Random,
    turn: Turn::None,
    positions: false,
    others: (0, 0),
    rows: None,
    squeeze: Squeeze::None,
};

pub(super) fn cases() -> Vec<AppendCase> {
    use Pairing::{HalfSplit, Interleaved};
    let mut all = Vec::new();
    for (at, element) in KvElement::ALL.into_iter().enumerate() {
        let default = AppendCase { element, ..DEFAULT };
        for (turn, dim) in HEAD_DIMS.into_iter().enumerate() {
            let heads = [1, 3, 8][(at + turn) % 3];
            let placed =
                [Placed::Plain, Placed::Ragged, Placed::Paged(16), Placed::Paged(32)][turn % 4];
            let tokens = [1, 3, 16, 1, 16][turn];
            let input = if turn == 3 { Activation::F16 } else { Activation::F32 };
            let positions = (at + turn) % 2 == 0;
            all.push(AppendCase { dim, heads, placed, tokens, input, positions, ..default });
        }
        all.push(AppendCase { numbers: Numbers::Edges, tokens: 8, dim: 80, ..default });
        all.push(AppendCase { numbers: Numbers::NotFinite, input: Activation::F16, ..default });
        all.push(AppendCase { numbers: Numbers::NotFinite, dim: 96, ..default });
        if element.scaled() {
            let default = AppendCase { numbers: Numbers::Halves, dim: 256, heads: 8, ..default };
            all.push(AppendCase { tokens: 16, ..default });
        }
        let turn =
            if at % 2 == 0 { Turn::Coarse(HalfSplit, 64) } else { Turn::Coarse(Interleaved, 80) };
        all.push(AppendCase {
            turn,
            dim: 80,
            positions: true,
            placed: Placed::Paged(16),
            ..default
        });
    }
    // Across the ends of pages, of which the first appended row is in the middle.
    all.push(AppendCase { placed: Placed::Paged(16), before: 14, tokens: 19, ..DEFAULT });
    all.push(AppendCase { placed: Placed::Paged(32), before: 31, tokens: 2, ..DEFAULT });
    for (element, pairing, dims) in [
        (KvElement::F32, Interleaved, 128),
        (KvElement::F32, HalfSplit, 128),
        (KvElement::F16, Interleaved, 64),
        (KvElement::F16, HalfSplit, 2),
    ] {
        let (turn, dim) = (Turn::Real(pairing, dims), 128);
        all.push(AppendCase { element, turn, dim, tokens: 5, ..DEFAULT });
    }
    // Several rows a workgroup, the last one half empty; some heads of the input only.
    for rows in [2, 4] {
        let (rows, element) = (Some(rows), KvElement::Int4);
        all.push(AppendCase { rows, element, tokens: 7, others: (2, 3), ..DEFAULT });
    }
    // A grid of two dimensions with spare workgroups.
    all.push(AppendCase { squeeze: Squeeze::Groups(5), tokens: 7, ..DEFAULT });
    all
}

impl AppendCase {
    fn rotary(&self) -> Option<Rotary> {
        // A table of the step's angles, or one of all positions.
        match self.turn {
            Turn::None => None,
            Turn::Coarse(pairing, dims) | Turn::Real(pairing, dims) => {
                Some(Rotary { dims, pairing, angle_rows: self.tokens + 2 })
            }
        }
    }

    fn numbers(&self, len: usize, seed: &str) -> Vec<f32> {
        let mut rng = generator(&format!("{seed} {}", self.name()));
        let dim = self.dim;
        let all = (0..len).map(|at| {
            let (value, bits) = (uniform(&mut rng), rng.next_u32());
            let sign = if bits & 1 == 0 { 1.0 } else { -1.0 };
            // Few bits, that turn without rounding.
            if matches!(self.turn, Turn::Coarse(..)) {
                return (value * 64.0).round() / 64.0;
            }
            match self.numbers {
                Numbers::Random => value,
                Numbers::Edges => match at / dim % 8 {
                    0 => 0.0 * sign,
                    1 => -0.375,
                    2 => f32::MAX * value,
                    3 => f32::from_bits(bits & 0x807f_ffff),
                    4 => value * 1e-7,
                    5 => value * if at % dim == 7 { 60_000.0 } else { 0.01 },
                    6 => 65_504.0 + value * 100.0,
                    _ => value * 1e-5,
                },
                Numbers::NotFinite => match bits % 40 {
                    1 => f32::NAN,
                    2 => f32::from_bits(0xffa1_2345),
                    3 => f32::INFINITY * sign,
                    _ => value,
                },
                // A row's ends make the scale 1/8 and the zero -2 or so, or near: ties at every step.
                Numbers::Halves => {
                    let (top, steps) =
                        if self.element == KvElement::Int8 { (127, 254) } else { (15, 30) };
                    let off = [0.0, 0.0, f32::EPSILON, -f32::EPSILON][bits as usize / 2 % 4];
                    let code = match at % dim {
                        0 => top as f32,
                        1 if self.element == KvElement::Int4 => 0.0,
                        _ => (bits / 8 % (steps + 1)) as f32 / 2.0 * (1.0 + off),
                    };
                    match self.element {
                        KvElement::Int8 => code / 8.0 * sign,
                        _ => code / 8.0 - 2.0,
                    }
                }
            }
        });
        let round = |v: f32| match self.input {
            Activation::F32 => v,
            Activation::F16 => f16::from_f32(v).to_f32(),
        };
        all.map(round).collect()
    }

    /// What the tensors of keys hold where turning is rounded: every row of them is written.
    fn close(
        &self,
        spec: &AppendKv,
        rows: &[NewRow],
        keys: &[f32],
        angles: &[f32],
        step: &Step,
    ) -> Result<Expected> {
        let dim = self.dim;
        let mut values = vec![0.0; spec.places.rows as usize * dim];
        let mut tolerance = vec![0.0; values.len()];
        for (at, row) in rows.iter().enumerate() {
            let key = &keys[at * dim..(at + 1) * dim];
            let turned = rotated(spec, step, (at / self.heads) as u32, key, angles)?;
            for (col, value) in turned.into_iter().enumerate() {
                // Two products and their sum, of numbers up to 1; and one rounding to f16.
                let sum = 4.0 * f64::powi(2.0, -24);
                let half = (value.abs() + sum) / 2048.0 + f64::powi(2.0, -25);
                let to = row.row as usize * dim + col;
                values[to] = value;
                tolerance[to] = if self.element == KvElement::F16 { sum + half } else { sum };
            }
        }
        let f32 = self.element == KvElement::F32;
        let (element, relative) =
            if f32 { (Activation::F32, 2e-7) } else { (Activation::F16, 5e-4) };
        Ok(Expected::Close { element, values, tolerance, relative })
    }
}

/// Words of a tensor of which these rows are written, as bytes; others stay poisoned.
fn written<'a>(rows: usize, each: usize, new: impl Iterator<Item = (u32, &'a [u32])>) -> Vec<u8> {
    let mut words = vec![u32::from_ne_bytes([POISON; 4]); rows * each];
    for (row, stored) in new {
        words[row as usize * each..(row as usize + 1) * each].copy_from_slice(stored);
    }
    bytemuck::cast_slice(&words).to_vec()
}

impl Case for AppendCase {
    fn kernel(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> String {
        let Self { heads, dim, element, placed, before, tokens, input, .. } = self;
        let mut name =
            format!("{heads}x{dim} {} {placed:?} {tokens} after {before}", element.name());
        if *input == Activation::F16 {
            name += " of f16";
        }
        if self.numbers != Numbers::Random {
            name += &format!(" {:?}", self.numbers);
        }
        if self.turn != Turn::None {
            name += &format!(" {:?}", self.turn);
        }
        if self.positions {
            name += " positions";
        }
        if let Some(rows) = self.rows {
            name += &format!(" {rows} rows");
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, _caps: &Caps) -> Vec<(&'static str, Knobs)> {
        vec![("baseline", Knobs { rows: self.rows, ..Knobs::baseline() })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let shape = CacheShape::new(self.heads, self.dim, self.element)?;
        let real = matches!(self.turn, Turn::Real(..));
        let mut layout = match real {
            true => Layout::plain(shape, self.tokens)?,
            false => self.placed.layout(shape, &self.placed.kept(self.heads), 48)?,
        };
        layout.append(if real { 0 } else { self.before })?;
        let (position, angle_row) = (layout.next_position(), 2);
        let before = layout.append(self.tokens)?;
        let step = Step { before, position, angle_row };
        let view = layout.view();
        let spec = AppendKv {
            input: self.input,
            input_heads: self.others.0 + self.heads + self.others.1,
            first_head: self.others.0,
            rotary: self.rotary(),
            positions: self.positions,
            ..AppendKv::new(shape, Places::of(&layout), self.tokens)
        };
        let [keys, values] = ["keys", "values"].map(|seed| self.numbers(spec.input_len(), seed));
        let mut rng = generator("angles");
        let angles: Vec<f32> = match self.turn {
            Turn::None => Vec::new(),
            Turn::Coarse(_, dims) => {
                let len = (self.tokens as usize + 2) * dims;
                (0..len).map(|_| (uniform(&mut rng) * 64.0).round() / 64.0).collect()
            }
            Turn::Real(_, dims) => rotary_angles(131_000..131_002 + self.tokens, dims, 1e4),
        };
        let rows = reference(&spec, &view, &step, &keys, &values, &angles)?;

        let padded = |mut bytes: Vec<u8>| {
            // What follows must not matter.
            bytes.resize(bytes.len().next_multiple_of(4) + 64, 0x7b);
            bytes
        };
        let bytes = |words: &[u32]| bytemuck::cast_slice(words).to_vec();
        let mut tensors = vec![
            Tensor::input(KEYS, padded(stored(&keys, self.input))),
            Tensor::input(VALUES, padded(stored(&values, self.input))),
            Tensor::input(HEADS, bytes(&view.head_words())),
            Tensor::input(STEP, bytes(&step.words())),
        ];
        if view.page_rows > 0 {
            let mut table = view.page_table.clone();
            table.resize(spec.places.entries as usize, u32::MAX);
            tensors.push(Tensor::input(PAGE_TABLE, bytes(&table)));
        }
        if spec.rotary.is_some() {
            tensors.push(Tensor::input(ANGLES, stored(&angles, Activation::F32)));
        }
        let (all, words) = (layout.rows() as usize, shape.row_words());
        let mut outputs = Vec::new();
        let mut output = |binding, expected| {
            tensors.push(match &expected {
                Expected::Bytes(bytes) => Tensor::output(binding, bytes.len()),
                Expected::Close { .. } | Expected::Images { .. } => {
                    Tensor::output(binding, all * words * 4)
                }
            });
            outputs.push(Output { binding, expected });
        };
        let side = |of: fn(&NewRow) -> &StoredRow| {
            let words_of = rows.iter().map(move |row| (row.row, &of(row).words[..]));
            let params_of =
                rows.iter().map(move |row| (row.row, std::slice::from_ref(&of(row).params)));
            (written(all, words, words_of), written(all, 1, params_of))
        };
        let (key_words, key_params) = side(|row| &row.key);
        let (value_words, value_params) = side(|row| &row.value);
        output(
            KEY_WORDS,
            match real {
                true => self.close(&spec, &rows, &keys, &angles, &step)?,
                false => Expected::Bytes(key_words),
            },
        );
        output(VALUE_WORDS, Expected::Bytes(value_words));
        if self.element.scaled() {
            output(KEY_PARAMS, Expected::Bytes(key_params));
            output(VALUE_PARAMS, Expected::Bytes(value_params));
        }
        if self.positions {
            let of = rows.iter().map(|row| (row.row, std::slice::from_ref(&row.position)));
            output(POSITIONS, Expected::Bytes(written(all, 1, of)));
        }
        let launches = spec.launches(&self.squeeze.apply(caps), knobs)?;
        Ok(Proof { launches, tensors, outputs })
    }
}
