//! Naming a pipeline by what is compiled.

use super::{Dialect, Launch};

/// FNV-1a: the key must be the same in every build and on every machine, because caches on disk
/// are named by it; the standard library's hashers promise neither.
struct Fnv(u64);

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Length first, so that no two lists of fields run together into the same bytes.
    fn field(&mut self, bytes: &[u8]) {
        self.write(&(bytes.len() as u64).to_le_bytes());
        self.write(bytes);
    }
}

pub(super) fn pipeline_key(launch: &Launch) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
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
    hash.0
}
