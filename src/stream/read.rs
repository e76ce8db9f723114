//! `stream_read`: reads a buffer once.
//!
//! `src [words]` u32 in quads of four; `dst [lanes]` u32. Lane `l` reads quads `l`, `l + lanes`,
//! `l + 2 lanes` and so on, and writes the exclusive or of all their words, 0 where there are none.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | quads, lanes |
//! | 1 | src | u32 in quads |
//! | 2 | dst | u32 |
//!
//! One variant, `baseline`: no feature, default limits. The buffer is one binding; a larger one is
//! an error. The kernel is our own.

use super::{Stream, candidates, lanes_for};
use crate::launch::{Access, Binding, Caps, Knobs, Launch, Spec, part};
use crate::{Error, Result};

/// The kernel's name.
pub const NAME: &str = "stream_read";

static BINDINGS: [Binding; 3] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(super::SRC, "src", Access::Read),
    Binding::new(super::DST, "dst", Access::ReadWrite),
];

/// One reading, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRead {
    /// Words to read, a multiple of 4.
    pub words: usize,
    /// Invocations that share the work, and words of the output; at most 2^24.
    pub lanes: u32,
}

impl StreamRead {
    /// Reads `words` words with as many lanes as suit their number.
    pub fn new(words: usize) -> Self {
        Self { words, lanes: lanes_for(words) }
    }
}

impl Spec for StreamRead {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// [`Error::Range`] for no words, lanes outside `1..=2^24` or a workgroup that the device
    /// cannot run, [`Error::Alignment`] for words that are no quads, [`Error::BindingTooLarge`].
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let stream = Stream {
            kernel: NAME,
            part: part!("stream/stream_read.wgsl"),
            bindings: &BINDINGS,
            words: self.words,
            lanes: self.lanes,
            dst_bytes: u64::from(self.lanes) * 4,
        };
        Ok(vec![stream.launch(caps, knobs)?])
    }

    fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        candidates(caps)
    }
}

/// What every lane finds, from the definition.
///
/// # Errors
/// [`Error::Range`] for no lanes.
pub fn reference(src: &[u32], lanes: u32) -> Result<Vec<u32>> {
    if lanes == 0 {
        return Err(Error::range("lanes", "1 and above", lanes));
    }
    let lanes = lanes as usize;
    let mut dst = vec![0; lanes];
    for (at, word) in src.iter().enumerate() {
        dst[at / 4 % lanes] ^= word;
    }
    Ok(dst)
}
