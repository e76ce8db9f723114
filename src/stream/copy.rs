//! `stream_copy`: copies a buffer.
//!
//! `src [words]` and `dst [words]`, u32 in quads of four: `dst = src`. Lane `l` of `lanes` copies
//! quads `l`, `l + lanes`, `l + 2 lanes` and so on.
//!
//! | binding | tensor | contents |
//! |---|---|---|
//! | 0 | params | quads, lanes |
//! | 1 | src | u32 in quads |
//! | 2 | dst | u32 in quads |
//!
//! One variant, `baseline`: no feature, default limits. The buffers are one binding each; larger
//! ones are an error. The reference is the input itself. The kernel is our own.

use super::{Stream, candidates, lanes_for};
use crate::Result;
use crate::launch::{Access, Binding, Caps, Knobs, Launch, Spec, part};

/// The kernel's name.
pub const NAME: &str = "stream_copy";

static BINDINGS: [Binding; 3] = [
    Binding::new(0, "params", Access::Uniform),
    Binding::new(super::SRC, "src", Access::Read),
    Binding::new(super::DST, "dst", Access::ReadWrite),
];

/// One copy, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamCopy {
    /// Words to copy, a multiple of 4.
    pub words: usize,
    /// Invocations that share the work; at most 2^24.
    pub lanes: u32,
}

impl StreamCopy {
    /// Copies `words` words with as many lanes as suit their number.
    pub fn new(words: usize) -> Self {
        Self { words, lanes: lanes_for(words) }
    }
}

impl Spec for StreamCopy {
    fn kernel(&self) -> &'static str {
        NAME
    }

    /// # Errors
    /// As [`super::StreamRead`].
    fn launches(&self, caps: &Caps, knobs: &Knobs) -> Result<Vec<Launch>> {
        let stream = Stream {
            kernel: NAME,
            part: part!("stream/stream_copy.wgsl"),
            bindings: &BINDINGS,
            words: self.words,
            lanes: self.lanes,
            dst_bytes: (self.words as u64).saturating_mul(4),
        };
        Ok(vec![stream.launch(caps, knobs)?])
    }

    fn candidates(&self, caps: &Caps) -> Vec<Knobs> {
        candidates(caps)
    }
}
