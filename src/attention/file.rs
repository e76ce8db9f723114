//! Caches in safetensors files, one for each layer of a model; `docs/kv_cache_file.md` describes them
//! byte by byte.
//!
//! A file holds the rows that heads have and none of the room beside them, so it is the same whichever
//! way the cache was laid out, and is read into segments with as much room as the reader likes. Files
//! come from outside: everything is checked against the tensors before it is used.

use super::{CacheShape, KvCache, KvElement, KvTensor, Layout};
use crate::linear::file::header::{self, Kind};
use crate::linear::file::{replace_with, tensor};
use crate::{Error, Result};
use safetensors::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const KIND: Kind = Kind { format: "kv-cache", layout: "rows-1" };

/// What a file says of one layer's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheHeader {
    /// KV heads.
    pub kv_heads: usize,
    /// Numbers of a row.
    pub head_dim: usize,
    /// `"f32"`, `"f16"`, `"bf16"`, `"int8"` or `"int4"`.
    pub element: KvElement,
    /// Rows that every head has besides its kept ones.
    pub appended: u32,
    /// Position of the first appended row.
    pub origin: u32,
    /// Whether positions are stored.
    pub positions: bool,
}

/// A file of caches in memory, or mapped into it. Caches are read one by one.
pub struct CacheFile<'a> {
    tensors: SafeTensors<'a>,
    settings: Option<String>,
    layers: BTreeMap<String, CacheHeader>,
}

impl<'a> CacheFile<'a> {
    /// Reads the header; `name` stands for the file in errors.
    ///
    /// # Errors
    /// [`Error::Format`] when this is no file of caches or one of another version or layout.
    pub fn parse(name: &str, bytes: &'a [u8]) -> Result<Self> {
        let header::Contents { tensors, settings, layers } = header::read(KIND, name, bytes)?;
        Ok(Self { tensors, settings, layers })
    }

    /// What the writer said of where the caches come from.
    pub fn settings(&self) -> Option<&str> {
        self.settings.as_deref()
    }

    /// Every layer's name and header, by name. Headers are checked against the tensors where a cache
    /// is read.
    pub fn layers(&self) -> impl Iterator<Item = (&str, &CacheHeader)> {
        self.layers.iter().map(|(name, header)| (name.as_str(), header))
    }

    /// Reads one layer's cache into a ragged layout with room for `reserve` rows besides the kept ones,
    /// or for as many as had been appended where those are more. Kept and appended rows are what they
    /// were. Takes memory for the file's rows and for the room.
    ///
    /// # Errors
    /// [`Error::Layer`] around [`Error::Format`] or [`Error::Shape`] when there is no such layer or its
    /// tensors are missing or differ from the header, around [`Error::Range`] for sizes and positions
    /// that cannot be, and around whatever [`KvTensor::from_parts`] finds.
    pub fn cache(&self, name: &str, reserve: u32) -> Result<KvCache> {
        let missing = || Error::format("layer", "the file has no layer of this name");
        let header = self.layers.get(name).ok_or_else(missing);
        header.and_then(|header| self.read(name, header, reserve)).map_err(|e| e.in_layer(name))
    }

    fn read(&self, name: &str, header: &CacheHeader, reserve: u32) -> Result<KvCache> {
        let CacheHeader { kv_heads, head_dim, element, appended, origin, positions } = *header;
        let shape = CacheShape::new(kv_heads, head_dim, element)?;
        let kept = self.words(name, "kept", &[kv_heads])?;
        // 65,535 heads of 2^33 rows at most.
        let rows: u64 = kept.iter().map(|kept| u64::from(*kept) + u64::from(appended)).sum();
        let rows = shape.checked_rows(rows)? as usize;
        let keys = self.rows(name, ["keys", "key_params"], shape, rows)?;
        let values = self.rows(name, ["values", "value_params"], shape, rows)?;
        let stored = match positions {
            false => None,
            true => Some(self.words(name, "positions", &[rows])?),
        };
        let mut layout = Layout::ragged(shape, &kept, reserve.max(appended), origin)?;
        layout.append(appended)?;
        KvCache::from_packed(layout, &keys, &values, stored.as_deref())
    }

    fn rows(
        &self,
        name: &str,
        [words, params]: [&str; 2],
        shape: CacheShape,
        rows: usize,
    ) -> Result<KvTensor> {
        let stored = self.words(name, words, &[rows, shape.row_words()])?;
        let scales = match shape.element().scaled() {
            false => Vec::new(),
            true => self.words(name, params, &[rows])?,
        };
        KvTensor::from_parts(shape, words, stored, scales)
    }

    fn words(&self, name: &str, part: &str, shape: &[usize]) -> Result<Vec<u32>> {
        let view = tensor(&self.tensors, &format!("{name}.{part}"), Dtype::U32, shape)?;
        Ok(bytemuck::pod_collect_to_vec(view.data()))
    }
}

/// One tensor of a cache as it is written, its words made when they are asked for: no more than one
/// tensor is in memory twice.
struct Part<'a> {
    cache: &'a KvCache,
    of: Of,
    shape: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Of {
    Keys,
    Values,
    KeyParams,
    ValueParams,
    Kept,
    Positions,
}

impl Part<'_> {
    fn contents(&self) -> Vec<u32> {
        let cache = self.cache;
        let words = |tensor: &KvTensor| {
            let rows = cache.packed_rows().filter_map(|row| tensor.row(row));
            rows.flat_map(|(words, _)| words.to_vec()).collect()
        };
        let params = |tensor: &KvTensor| {
            cache.packed_rows().filter_map(|row| Some(tensor.row(row)?.1)).collect()
        };
        match self.of {
            Of::Keys => words(cache.keys()),
            Of::Values => words(cache.values()),
            Of::KeyParams => params(cache.keys()),
            Of::ValueParams => params(cache.values()),
            Of::Kept => {
                let heads = 0..cache.shape().kv_heads();
                heads.map(|head| cache.layout().kept(head)).collect()
            }
            Of::Positions => {
                let positions = cache.positions().unwrap_or_default();
                cache.packed_rows().filter_map(|row| positions.get(row).copied()).collect()
            }
        }
    }
}

impl View for Part<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::U32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(bytemuck::cast_slice(&self.contents()).to_vec())
    }

    fn data_len(&self) -> usize {
        4 * self.shape.iter().product::<usize>()
    }
}

type Contents<'a> = (Vec<(String, Part<'a>)>, HashMap<String, String>);

fn contents<'a>(settings: Option<&str>, caches: &[(&str, &'a KvCache)]) -> Result<Contents<'a>> {
    let (mut headers, mut parts) = (BTreeMap::new(), Vec::new());
    for &(name, cache) in caches {
        let (shape, layout) = (*cache.shape(), cache.layout());
        let rows = cache.packed_rows().count();
        let mut push = |part: &str, of, shape| {
            parts.push((format!("{name}.{part}"), Part { cache, of, shape }));
        };
        push("keys", Of::Keys, vec![rows, shape.row_words()]);
        push("values", Of::Values, vec![rows, shape.row_words()]);
        if shape.element().scaled() {
            push("key_params", Of::KeyParams, vec![rows]);
            push("value_params", Of::ValueParams, vec![rows]);
        }
        push("kept", Of::Kept, vec![shape.kv_heads()]);
        let positions = cache.positions().is_some();
        if positions {
            push("positions", Of::Positions, vec![rows]);
        }
        let header = CacheHeader {
            kv_heads: shape.kv_heads(),
            head_dim: shape.head_dim(),
            element: shape.element(),
            appended: layout.appended(),
            origin: layout.origin(),
            positions,
        };
        header::add(&mut headers, name, header)?;
    }
    Ok((parts, header::metadata(KIND, settings, headers)?))
}

/// The bytes of a file of caches, by the names of their layers. `settings` says in words of the caller's
/// where they come from: which model, and which text.
///
/// # Errors
/// [`Error::Format`] when two layers have one name.
pub fn write_caches(settings: Option<&str>, caches: &[(&str, &KvCache)]) -> Result<Vec<u8>> {
    let (tensors, metadata) = contents(settings, caches)?;
    safetensors::serialize(tensors, Some(metadata))
        .map_err(|e| Error::format("file of caches", e.to_string()))
}

/// Writes a file of caches, one tensor after the other; an existing one is replaced only once the new
/// one is complete.
///
/// # Errors
/// As [`write_caches`], and [`Error::Io`].
pub fn save_caches(path: &Path, settings: Option<&str>, caches: &[(&str, &KvCache)]) -> Result<()> {
    let (tensors, metadata) = contents(settings, caches)?;
    replace_with(path, |partial| {
        safetensors::serialize_to_file(tensors, Some(metadata), partial).map_err(|e| match e {
            safetensors::SafeTensorError::IoError(error) => error,
            other => std::io::Error::other(other),
        })
    })
}
