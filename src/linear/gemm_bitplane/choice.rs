//! Knobs with every default filled in, and the shader that they name.

use super::{GemmBitplane, NAME};
use crate::Result;
use crate::launch::{Caps, Knobs, Lookup, Masks, Needs, Part, Shader, part};
use crate::linear::bitplane::{
    activation_part, check_lookup, code_parts, count, lookup_bytes, lookup_parts, slices,
};
use crate::linear::product::Form;
use crate::linear::tile::Tile;
use crate::linear::{Activation, TableElement};

/// Everything that was left open, decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    tile: Tile,
    lookup: Lookup,
    masks: Masks,
    slices: u32,
    /// Words of a row in one slice.
    slice_words: u32,
    batch: u32,
}

impl Choice {
    pub(super) fn new(spec: &GemmBitplane, caps: &Caps, knobs: &Knobs) -> Result<Self> {
        let halves = spec.activation == Activation::F16 && spec.layout.table() == TableElement::F16;
        // Tables whose place is left open go where there is room.
        let lookup = knobs.lookup.unwrap_or(Lookup::Storage);
        let tables = |rows| lookup_bytes(lookup, rows, spec.bits);
        let tile = Tile::beside(NAME, caps, knobs, spec.batch, halves, tables)?;
        let (slices, slice_words) = slices(NAME, &spec.layout, knobs)?;
        Ok(Self {
            tile,
            lookup: choose(spec, caps, knobs, tile)?,
            masks: knobs.masks.unwrap_or(Masks::Constant),
            slices,
            slice_words,
            batch: count("batch", spec.batch)?,
        })
    }

    /// How the product is computed.
    pub(super) fn form(&self, spec: &GemmBitplane) -> Form {
        Form {
            variant: match (self.tile.matrix(), self.lookup) {
                (false, Lookup::Single) => "baseline",
                (false, Lookup::Half) => "baseline half",
                (false, Lookup::Pair) => "baseline pair",
                (false, Lookup::Storage) => "baseline storage",
                (true, Lookup::Single) => "matrix",
                (true, Lookup::Half) => "matrix half",
                (true, Lookup::Pair) => "matrix pair",
                (true, Lookup::Storage) => "matrix storage",
            },
            shader: self.shader(spec),
            needs: Needs {
                f16: self.lookup == Lookup::Half || self.tile.matrix(),
                workgroup_bytes: workgroup_bytes(self.lookup, self.tile, spec.bits),
                ..self.tile.needs()
            },
            workgroup: self.tile.workgroup(),
            rows: self.tile.rows(),
            tiles: self.tile.across(spec.batch),
            slices: self.slices,
            slice_words: self.slice_words,
            batch: self.batch,
        }
    }

    fn shader(&self, spec: &GemmBitplane) -> Shader {
        let shape = self.tile.shape;
        let mut shader = shape.shader(NAME, spec.bits, self.parts(spec));
        shader.preamble += &self.tile.preamble();
        shader
    }

    fn parts(&self, spec: &GemmBitplane) -> Vec<Part> {
        let mut parts = code_parts(spec.bits, self.masks).to_vec();
        let stores_halves = spec.activation == Activation::F16 && self.slices == 1;
        if self.lookup != Lookup::Half || stores_halves {
            parts.push(part!("lib/half.wgsl"));
        }
        parts.extend(lookup_parts(self.lookup, &spec.layout));
        parts.push(activation_part(spec.activation, spec.layout.cols()));
        parts.extend(self.tile.parts());
        if self.slices > 1 {
            parts.push(part!("linear/tile_output_partial.wgsl"));
        } else {
            parts.push(part!("linear/bias.wgsl"));
            parts.push(match spec.activation {
                Activation::F32 => part!("linear/tile_output_f32.wgsl"),
                Activation::F16 => part!("linear/tile_output_f16.wgsl"),
            });
        }
        parts.push(part!("linear/gemm_bitplane.wgsl"));
        parts
    }
}

fn workgroup_bytes(lookup: Lookup, tile: Tile, bits: u8) -> u32 {
    lookup_bytes(lookup, tile.rows(), bits) + tile.needs().workgroup_bytes
}

fn choose(spec: &GemmBitplane, caps: &Caps, knobs: &Knobs, tile: Tile) -> Result<Lookup> {
    if let Some(lookup) = knobs.lookup {
        check_lookup(NAME, lookup, spec.bits, &spec.layout)?;
        return Ok(lookup);
    }
    // What every device has; more would leave room for fewer workgroups at a time.
    let most = caps.max_workgroup_bytes.min(16 << 10);
    let fits = |lookup| workgroup_bytes(lookup, tile, spec.bits) <= most;
    Ok(if fits(Lookup::Single) {
        Lookup::Single
    } else if caps.f16 && spec.layout.table() == TableElement::F16 && fits(Lookup::Half) {
        Lookup::Half
    } else {
        Lookup::Storage
    })
}
