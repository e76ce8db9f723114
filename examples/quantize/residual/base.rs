//! The weights that a residual belongs to, of whatever kind of packed file.

use fewbytes::linear::BitplaneLayer;
use fewbytes::linear::file::{DenseFile, PackedFile, VectorFile, read_reference};
use fewbytes::{Error, Result};

/// A packed file, and what it says of its layers.
pub(super) struct Base<'a> {
    file: File<'a>,
    layers: Vec<BaseLayer>,
}

enum File<'a> {
    Planes(PackedFile<'a>),
    Pairs(VectorFile<'a>),
    Published(Vec<(String, BitplaneLayer)>),
}

/// What a file says of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BaseLayer {
    pub(super) name: String,
    pub(super) rows: usize,
    pub(super) cols: usize,
    widths: Vec<u8>,
}

impl<'a> Base<'a> {
    /// Reads what a file says of its layers; `name` stands for it in errors.
    pub(super) fn parse(name: &str, bytes: &'a [u8]) -> Result<Self> {
        let file = match super::format_of(bytes).as_deref() {
            Some("vector-2d") => File::Pairs(VectorFile::parse(name, bytes)?),
            // Without a word of ours it may be the published layout.
            None if holds_reference(bytes) => File::Published(read_reference(name, bytes)?),
            _ => File::Planes(PackedFile::parse(name, bytes)?),
        };
        let of = |name: &str, rows, cols, widths| {
            let name = name.to_owned();
            BaseLayer { name, rows, cols, widths }
        };
        let layers = match &file {
            File::Planes(file) => {
                file.layers().map(|(n, h)| of(n, h.rows, h.cols, h.widths.clone())).collect()
            }
            File::Pairs(file) => {
                file.layers().map(|(n, h)| of(n, h.rows, h.cols, vec![h.code_bits])).collect()
            }
            File::Published(layers) => {
                let widths = |l: &BitplaneLayer| l.tables().widths().collect();
                layers.iter().map(|(n, l)| of(n, l.rows(), l.cols(), widths(l))).collect()
            }
        };
        Ok(Self { file, layers })
    }

    pub(super) fn layers(&self) -> &[BaseLayer] {
        &self.layers
    }

    /// How files and messages name the kind of file.
    pub(super) fn format(&self) -> &'static str {
        match self.file {
            File::Planes(_) => "bitplane",
            File::Pairs(_) => "vector-2d",
            File::Published(_) => "published",
        }
    }

    /// What the writer said of how the layers were made.
    pub(super) fn settings(&self) -> Option<&str> {
        match &self.file {
            File::Planes(file) => file.settings(),
            File::Pairs(_) | File::Published(_) => None,
        }
    }

    /// The weights that kernels decode at one width, row-major: entries of the stored tables.
    pub(super) fn decode(&self, layer: &str, bits: u8) -> Result<Vec<f32>> {
        let at_width =
            |found: &BitplaneLayer| found.dequantize(bits).map_err(|e| e.in_layer(layer));
        match &self.file {
            File::Planes(file) => at_width(&file.layer(layer)?),
            // The one width that there is was checked.
            File::Pairs(file) => Ok(file.layer(layer)?.dequantize()),
            File::Published(layers) => match layers.iter().find(|(name, _)| name == layer) {
                Some((_, found)) => at_width(found),
                None => Err(Error::format("layer", "not in the file").in_layer(layer)),
            },
        }
    }
}

impl BaseLayer {
    /// The width asked for, or the only one.
    pub(super) fn width(&self, asked: Option<u8>) -> Result<u8> {
        let list: Vec<String> = self.widths.iter().map(u8::to_string).collect();
        let there = format!("the layer has {} bits", list.join(", "));
        let error = match (asked, self.widths.as_slice()) {
            (Some(bits), widths) if widths.contains(&bits) => return Ok(bits),
            (None, [only]) => return Ok(*only),
            (Some(bits), _) => Error::unsupported(format!("width {bits}"), there),
            (None, _) => {
                let why = format!("{there}, and a residual belongs to one width: see --bits");
                Error::unsupported("a residual of all widths", why)
            }
        };
        Err(error.in_layer(&self.name))
    }
}

fn holds_reference(bytes: &[u8]) -> bool {
    DenseFile::parse("", bytes)
        .is_ok_and(|file| file.tensors().iter().any(|t| t.name.ends_with(".qweight")))
}
