//! KVzip: a context is prefilled once, scored by having the model repeat it, and evicted once; the cache
//! that is left serves whatever is asked later.
//!
//! Source: "KVzip: Query-Agnostic KV Cache Compression with Context Reconstruction", Kim et al., NeurIPS
//! 2025, arXiv 2505.23416, and its released code.
//!
//! Behind a system prefix of `s` tokens the context has `n`, in chunks of `m`, 2000 as published; the last
//! may be of any length, 1 among them. After prefill every chunk has one pass:
//!
//! ```text
//! instruction | last 8 tokens of the chunk before | end of turn | the chunk's tokens
//! ```
//!
//! with another [instruction](RepeatTemplate) for the first chunk, which has none before it. The pass's
//! tokens are at positions `s + n` and on, see the whole cache and themselves, and their rows are dropped
//! afterwards. A layer's scores of the chunk are the largest attention that any of the pass's queries pays
//! each pair: [`ScoreProblem`](crate::attention::reference::ScoreProblem), with a [`Denominator`] and the
//! sink of [`SinkRows`].
//!
//! [`Kvzip`] knows how that goes and nothing of models or devices. An [`Engine`] runs passes and hands
//! every scored layer's queries and keys to a [`Scorer`], which may be the
//! [reference](ReferenceScorer) or kernels: what is handed over is a type of the engine's.
//!
//! ```text
//! Kvzip::passes    token lists, checked before anything runs
//! Kvzip::scan      passes -> the scorer       (engine, scorer)
//! Kvzip::score     the same -> Scores
//! Kvzip::evict     Scores -> Zipped           lists of rows that stay, and a report
//! Kvzip::apply     Selection -> Zipped        where a device has selected
//! Zipped::compact  caches of the host; a device's are gathered by the lists
//! ```
//!
//! Of a hybrid model the layers with a sliding window are not scored and not evicted. Their rows of a pass
//! are the engine's to drop: a ring has to be as it was before.

mod driver;
mod engine;
mod report;
mod scorer;
mod template;
#[cfg(test)]
mod tests;

pub use driver::{CHUNK, Kvzip, OVERLAP, SinkRows, Zipped};
pub use engine::{Engine, ModelSizes, RepeatPass};
pub use report::{Phases, Report};
pub use scorer::{HostLayer, ReferenceScorer, Scorer};
pub use template::{FIRST_INSTRUCTION, NEXT_INSTRUCTION, RepeatTemplate};

#[cfg(doc)]
use crate::attention::Denominator;
