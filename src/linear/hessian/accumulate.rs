//! Sums of weighted outer products.

use super::{Hessian, group_name, triangle};
use crate::linear::parallel::each;
use crate::linear::tiled_matrix::{SIDE, Tile, add_dense};
use crate::{Error, Result};

/// Tokens taken at a time: bounds the copies that a large batch needs.
const PIECE: usize = 16 * SIDE;

/// One tile of sums.
type Sums = [[f64; SIDE]; SIDE];

/// Adds up `H_k = sum over tokens t of s[t, k] * x_t x_t^T` for the groups `k` of one layer.
///
/// Inputs come in batches of any size. Products are summed in `f32` over 64 tokens and from there
/// on in `f64`, upper triangle only; the result does not depend on the number of threads. Takes
/// about `4 * groups * inputs^2` bytes, and `8 * 1024 * inputs` more while a batch is added.
///
/// ```
/// use fewbytes::linear::HessianAccumulator;
///
/// # fn main() -> fewbytes::Result<()> {
/// // Two groups of outputs, three inputs, batches of two tokens and one.
/// let mut sums = HessianAccumulator::new("blk.0.up", 3, 2)?;
/// sums.add_batch(&[1.0, 0.0, 2.0, 0.0, 1.0, 1.0], Some(&[1.0, 0.5, 1.0, 0.25]))?;
/// sums.add_batch(&[1.0, 1.0, 1.0], None)?;
/// let hessian = sums.finish()?;
/// assert_eq!(hessian.diagonal(0), [2.0, 2.0, 6.0]);
/// assert_eq!(hessian.get(1, 0, 2), Some(2.0));
/// assert_eq!(hessian.tokens(), 3);
/// # Ok(())
/// # }
/// ```
pub struct HessianAccumulator {
    name: String,
    inputs: usize,
    groups: usize,
    tokens: u64,
    /// Of each group the columns of tiles, of each the tiles down to the diagonal.
    sums: Vec<Sums>,
}

impl HessianAccumulator {
    /// No tokens yet. `name` is the layer's name in every later error.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] when a number is 0 or the sums cannot be addressed,
    /// and around [`Error::OutOfMemory`], with the bytes, when there is no memory for them.
    pub fn new(name: &str, inputs: usize, groups: usize) -> Result<Self> {
        let tiles = triangle(inputs.div_ceil(SIDE)).and_then(|each| each.checked_mul(groups));
        let bytes = tiles.and_then(|tiles| tiles.checked_mul(size_of::<Sums>()));
        // All numbers of the matrices, which are counted elsewhere, have to be within usize too.
        let packed = triangle(inputs).and_then(|each| each.checked_mul(groups)?.checked_mul(4));
        let (Some(tiles), Some(bytes), Some(_), true) =
            (tiles, bytes, packed, inputs > 0 && groups > 0)
        else {
            let found = format!("{groups} x {inputs} x {inputs}");
            let expected = "groups > 0, inputs > 0 and sums within usize";
            return Err(Error::shape("Hessian", expected, found).in_layer(name));
        };
        // In one piece, so that the system sees all that is wanted when it is asked.
        let sums = reserved(tiles).ok_or_else(|| short(inputs, groups, bytes).in_layer(name));
        let mut sums: Vec<Sums> = sums?;
        sums.resize(tiles, [[0.0; SIDE]; SIDE]);
        Ok(Self { name: name.to_owned(), inputs, groups, tokens: 0, sums })
    }

    /// Adds tokens: inputs `x[n, inputs]` of the layer, row-major, and what the squared error of
    /// each token costs in each group, `s[n, groups]`; absent means 1 for all.
    ///
    /// `s` is a mean of squared gradients. Those are often below 6e-8, where halves end: have them
    /// computed and stored as bf16 or f32, scaled by a constant if need be.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] when the lengths are not those of whole tokens, and
    /// around [`Error::Value`] at the first input that is not finite or the first `s` that is
    /// negative or not finite. Nothing is added then.
    pub fn add_batch(&mut self, x: &[f32], s: Option<&[f32]>) -> Result<()> {
        check_tokens(self.inputs, self.groups, x, s).map_err(|e| e.in_layer(&self.name))?;
        let weights = s.map_or(0, |_| PIECE * self.groups);
        for (at, x) in x.chunks(PIECE * self.inputs).enumerate() {
            let s = s.map(|s| &s[at * weights..s.len().min((at + 1) * weights)]);
            self.add_piece(x, s);
        }
        self.tokens += (x.len() / self.inputs) as u64;
        Ok(())
    }

    fn add_piece(&mut self, x: &[f32], s: Option<&[f32]>) {
        let (inputs, groups) = (self.inputs, self.groups);
        let across = inputs.div_ceil(SIDE);
        let blocks: Vec<&[f32]> = x.chunks(SIDE * inputs).collect();
        // Tile (block, column) of X, and the same transposed: a tile's sums are products of two.
        let places = |_| (0..blocks.len() * across).collect::<Vec<_>>();
        let tokens = each(places(()), |at| tile(blocks[at / across], inputs, at % across));
        let tiles = self.sums.len() / groups;
        for (group, sums) in self.sums.chunks_exact_mut(tiles).enumerate() {
            let columns = each(places(()), |at| {
                let (block, from) = (at / across, at % across * SIDE);
                let mut tile = [[0.0f32; SIDE]; SIDE];
                for (t, x) in blocks[block].chunks_exact(inputs).enumerate() {
                    let s = s.map_or(1.0, |s| s[(block * SIDE + t) * groups + group]);
                    let x = &x[from..inputs.min(from + SIDE)];
                    for (column, x) in tile.iter_mut().zip(x) {
                        column[t] = s * x;
                    }
                }
                tile
            });
            // The longest columns first, so that none is left for the end.
            let mut rest = sums;
            let mut parts = Vec::with_capacity(across);
            for column in (0..across).rev() {
                let from = rest.len() - column - 1;
                let own = rest.split_off_mut(from..).unwrap_or_default();
                parts.push((column, own));
            }
            each(parts, |(column, sums)| {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for block in 0..blocks.len() {
                        let mut products = [[0.0f32; SIDE]; SIDE];
                        let left = &columns[block * across + row];
                        add_dense(&mut products, left, &tokens[block * across + column]);
                        for (sum, product) in sums.iter_mut().flatten().zip(products.as_flattened())
                        {
                            *sum += f64::from(*product);
                        }
                    }
                }
            });
        }
    }

    /// Tokens added so far.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The sums as they are, not divided by the number of tokens.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Shape`] where no token was added, and around
    /// [`Error::Value`] where a sum is beyond the range of f32, and around [`Error::OutOfMemory`],
    /// with the bytes, when there is no memory for the Hessian beside its sums.
    pub fn finish(self) -> Result<Hessian> {
        let Self { name, inputs, groups, tokens, sums } = self;
        if tokens == 0 {
            return Err(Error::shape("tokens", "at least one", 0).in_layer(&name));
        }
        let count = groups * triangle(inputs).unwrap_or_default();
        let packed = reserved(count).ok_or_else(|| short(inputs, groups, 4 * count));
        let mut packed: Vec<f32> = packed.map_err(|e| e.in_layer(&name))?;
        for (group, sums) in sums.chunks_exact(sums.len() / groups).enumerate() {
            for i in 0..inputs {
                for j in i..inputs {
                    let value = sums[before(j / SIDE) + i / SIDE][i % SIDE][j % SIDE];
                    if !(value as f32).is_finite() {
                        let what = group_name(group);
                        let rule = "must be within f32; scale the sensitivities down";
                        let error = Error::Value { what, row: i, col: j, value, rule };
                        return Err(error.in_layer(&name));
                    }
                    packed.push(value as f32);
                }
            }
        }
        Hessian::from_packed(&name, inputs, groups, tokens, packed)
    }
}

/// Room for so many, if there is memory for them.
fn reserved<T>(count: usize) -> Option<Vec<T>> {
    let mut room = Vec::new();
    room.try_reserve_exact(count).ok().map(|()| room)
}

fn short(inputs: usize, groups: usize, bytes: usize) -> Error {
    let what = format!("the Hessian, {groups} x {inputs} x {inputs}");
    let hint = if groups > 1 { "; fewer groups take less" } else { "" };
    let message = format!("{bytes} bytes could not be had{hint}");
    Error::OutOfMemory { what, message }
}

/// Tiles of the columns before this one.
fn before(column: usize) -> usize {
    column * (column + 1) / 2
}

/// Whether these are whole tokens that can be added; how many.
pub(crate) fn check_tokens(
    inputs: usize,
    groups: usize,
    x: &[f32],
    s: Option<&[f32]>,
) -> Result<usize> {
    if !x.len().is_multiple_of(inputs) {
        let expected = format!("a multiple of {inputs} inputs");
        return Err(Error::shape("length of x", expected, x.len()));
    }
    let tokens = x.len() / inputs;
    let bad = |what: &str, values: &[f32], width, rule, valid: fn(&f32) -> bool| {
        let at = values.iter().position(|v| !valid(v));
        at.map_or(Ok(()), |at| {
            let (what, value) = (what.to_owned(), values[at].into());
            Err(Error::Value { what, row: at / width, col: at % width, value, rule })
        })
    };
    bad("x", x, inputs, "must be finite", |v| v.is_finite())?;
    if let Some(s) = s {
        if tokens.checked_mul(groups) != Some(s.len()) {
            let expected = format!("{tokens} tokens x {groups} groups");
            return Err(Error::shape("length of s", expected, s.len()));
        }
        let rule = "must be finite and not negative";
        bad("s", s, groups, rule, |v| v.is_finite() && *v >= 0.0)?;
    }
    Ok(tokens)
}

/// Columns `column * SIDE ..` of a block of tokens.
fn tile(block: &[f32], inputs: usize, column: usize) -> Tile {
    let mut tile = [[0.0; SIDE]; SIDE];
    let from = column * SIDE;
    for (row, x) in tile.iter_mut().zip(block.chunks_exact(inputs)) {
        let x = &x[from..inputs.min(from + SIDE)];
        row[..x.len()].copy_from_slice(x);
    }
    tile
}
