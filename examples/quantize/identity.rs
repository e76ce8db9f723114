//! What a layer is made from, as a hash of all of it.

use bytemuck::cast_slice;
use xxhash_rust::xxh3::Xxh3;

/// 128 bits over every number: weights, bias, sensitivities, and Hessians or what they are sums of.
/// A part of an earlier run counts only where none of them changed.
#[derive(Default)]
pub(crate) struct Identity(Xxh3);

impl Identity {
    /// Words or sizes; their length goes in as well, so that neighbours are told apart.
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn sizes(&mut self, sizes: &[usize]) {
        sizes.iter().for_each(|&size| self.field(&(size as u64).to_le_bytes()));
    }

    pub(crate) fn numbers(&mut self, numbers: &[f32]) {
        self.field(cast_slice(numbers));
    }

    /// Numbers that may be absent.
    pub(crate) fn some_numbers(&mut self, numbers: Option<&[f32]>) {
        self.field(&[numbers.is_some().into()]);
        self.numbers(numbers.unwrap_or_default());
    }

    pub(crate) fn finish(&self) -> String {
        format!("{:032x}", self.0.digest128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[f32]]) -> String {
        let mut identity = Identity::default();
        parts.iter().for_each(|part| identity.numbers(part));
        identity.finish()
    }

    #[test]
    fn one_number_anywhere_makes_another_identity() {
        // More than the 64 MiB of which a sample would look at pieces only.
        let mut numbers = vec![0.5f32; (64 << 20) / 4 + 100_000];
        let before = of(&[&numbers]);
        assert_eq!(before.len(), 32);
        for at in [0, 70_001, 9_000_001, numbers.len() - 1] {
            numbers[at] = 0.25;
            assert_ne!(of(&[&numbers]), before, "number {at}");
            numbers[at] = 0.5;
        }
        assert_eq!(of(&[&numbers]), before);
    }

    #[test]
    fn where_a_tensor_ends_counts() {
        assert_ne!(of(&[&[1.0, 2.0], &[3.0]]), of(&[&[1.0], &[2.0, 3.0]]));
        let with = |numbers: Option<&[f32]>| {
            let mut identity = Identity::default();
            identity.some_numbers(numbers);
            identity.finish()
        };
        assert_ne!(with(None), with(Some(&[])));
    }
}
