//! Naming a pipeline by what is compiled, and a spec by what it asks for.

use super::{Dialect, Launch};

/// FNV-1a over fields: the same in every build and on every machine, because caches on disk are
/// named by it; the standard library's hashers promise neither. It finds accidents, not attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StableHash(u64);

impl Default for StableHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl StableHash {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Adds one field. Its length goes first, so that no two lists of fields run together into
    /// the same bytes.
    pub fn field(&mut self, bytes: &[u8]) {
        self.write(&(bytes.len() as u64).to_le_bytes());
        self.write(bytes);
    }

    /// The hash of the fields so far.
    pub fn finish(&self) -> u64 {
        self.0
    }
}

pub(super) fn pipeline_key(launch: &Launch) -> u64 {
    let mut hash = StableHash::default();
    hash.field(launch.shader.entry.as_bytes());
    hash.field(launch.wgsl(Dialect::Standard).as_bytes());
    for (name, value) in &launch.shader.constants {
        hash.field(name.as_bytes());
        hash.field(&value.to_bits().to_le_bytes());
    }
    for binding in launch.bindings {
        hash.field(&binding.number.to_le_bytes());
        hash.field(&[binding.access as u8]);
    }
    hash.finish()
}

/// What launches do, whatever the text of their shaders' files: two specs with one key can share
/// what was learnt about the speed of one of them.
pub(super) fn tuning_key(kernel: &str, launches: &[Launch]) -> String {
    let mut hash = StableHash::default();
    for launch in launches {
        hash.field(launch.shader.preamble.as_bytes());
        for part in &launch.shader.parts {
            hash.field(part.name.as_bytes());
        }
        hash.field(&launch.params);
        for operand in &launch.operands {
            hash.field(&operand.binding.to_le_bytes());
            hash.field(&operand.piece.to_le_bytes());
            hash.field(&operand.offset.to_le_bytes());
            hash.field(&operand.bytes.to_le_bytes());
        }
        // Where one launch ends and the next begins.
        hash.field(b"launch");
    }
    format!("{kernel}-{:016x}", hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_same_everywhere_and_fields_do_not_run_together() {
        // FNV-1a's own test vector: the empty input.
        assert_eq!(StableHash::default().finish(), 0xcbf2_9ce4_8422_2325);
        let mut raw = StableHash::default();
        raw.write(b"foobar");
        assert_eq!(raw.finish(), 0x8594_4171_f739_67e8);
        let of = |fields: &[&str]| {
            let mut hash = StableHash::default();
            fields.iter().for_each(|field| hash.field(field.as_bytes()));
            hash.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab", ""]), of(&["ab"]));
    }
}
