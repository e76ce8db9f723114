//! Damaged files: cut short anywhere, bytes overwritten anywhere, spans moved. Loaders answer
//! with a typed error or with layers that are sound.

use crate::container::Container;
use crate::largest::largest_request;
use crate::layers::Wanted;
use crate::{allowance, load_packed, load_reference, sample};
use fewbytes::Error;
use fewbytes::linear::file::{DenseFile, write_reference};
use proptest::prelude::*;

fn reference_sample() -> Vec<u8> {
    let a = Wanted { bias: true, ..Wanted::new(3, 64, 2, 4) }.layer();
    let b = Wanted { widths: vec![3, 5], ..Wanted::new(2, 32, 3, 6) }.layer();
    write_reference(&[("a", &a), ("b", &b)]).unwrap()
}

fn dense_sample() -> Vec<u8> {
    let mut file = Container::new();
    for (name, dtype, shape, bytes) in [
        ("single", "F32", &[3usize, 5][..], 60usize),
        ("half", "F16", &[4, 4], 32),
        ("brain", "BF16", &[1, 7], 14),
        ("vector", "F32", &[6], 24),
        ("ids", "I64", &[2, 2], 32),
    ] {
        file.push(name, dtype, shape, &vec![0x3c; bytes]);
    }
    file.join()
}

/// Loads everything that a dense file offers.
fn load_dense(bytes: &[u8]) -> Result<usize, Error> {
    let (loaded, largest) = largest_request(|| {
        let file = DenseFile::parse("file", bytes)?;
        let found = file.matrices();
        for shape in &found {
            // What is listed has to be there, whole and of a type that can be read.
            let values = file.values(&shape.name).unwrap();
            assert_eq!(values.len(), shape.rows * shape.cols, "{}", shape.name);
        }
        file.values("no such tensor").unwrap_err();
        Ok(found.len())
    });
    assert!(largest <= allowance(bytes), "{largest} bytes for a file of {}", bytes.len());
    loaded
}

#[test]
fn undamaged_samples_load() {
    assert_eq!(load_packed(&sample()).unwrap().len(), 2);
    assert_eq!(load_reference(&reference_sample()).unwrap().len(), 2);
    assert_eq!(load_dense(&dense_sample()).unwrap(), 3);
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    for (bytes, load) in [
        (sample(), (|b| load_packed(b).map(drop)) as fn(&[u8]) -> Result<(), Error>),
        (reference_sample(), |b| load_reference(b).map(drop)),
        (dense_sample(), |b| load_dense(b).map(drop)),
    ] {
        for length in 0..bytes.len() {
            let error = load(&bytes[..length]).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{length}: {error}");
            assert!(error.to_string().starts_with("file: "), "{length}: {error}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(load(&longer), Err(Error::Format { .. })));
    }
}

#[test]
fn a_header_size_of_any_magnitude_is_an_error() {
    for size in [0, 1, 7, 1 << 16, 100_000_000, 100_000_001, 1 << 40, i64::MAX as u64, u64::MAX] {
        for mut bytes in [sample(), reference_sample(), dense_sample()] {
            bytes[..8].copy_from_slice(&size.to_le_bytes());
            assert!(matches!(load_packed(&bytes), Err(Error::Format { .. })), "{size}");
            assert!(matches!(load_reference(&bytes), Err(Error::Format { .. })), "{size}");
            assert!(matches!(load_dense(&bytes), Err(Error::Format { .. })), "{size}");
        }
    }
}

/// Bytes to overwrite: where, as a share of the file or of its header, and with what.
fn damage() -> impl Strategy<Value = Vec<(bool, prop::sample::Index, u8)>> {
    // Most damage to text yields no JSON at all; digits, brackets and quotes get further.
    let value = prop_oneof![any::<u8>(), b'0'..=b'9', Just(b','), Just(b'"'), Just(b']')];
    proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), value), 1..6)
}

fn damaged(mut bytes: Vec<u8>, damage: &[(bool, prop::sample::Index, u8)]) -> Vec<u8> {
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for (in_header, at, value) in damage {
        let at = if *in_header { 8 + at.index(header) } else { at.index(bytes.len()) };
        bytes[at] = *value;
    }
    bytes
}

/// Digits of the header replaced by digits: JSON stays JSON, numbers change.
fn renumbered(mut bytes: Vec<u8>, damage: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let digits: Vec<usize> = (8..header).filter(|&at| bytes[at].is_ascii_digit()).collect();
    for (at, digit) in damage {
        bytes[digits[at.index(digits.len())]] = *digit;
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    // Each loader's own assertions are the test: no panic, no large allocation, sound layers.

    #[test]
    fn overwritten_bytes(damage in damage()) {
        let _ = load_packed(&damaged(sample(), &damage));
        let _ = load_reference(&damaged(reference_sample(), &damage));
        let _ = load_dense(&damaged(dense_sample(), &damage));
    }

    #[test]
    fn changed_numbers(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 1..4),
    ) {
        let _ = load_packed(&renumbered(sample(), &damage));
        let _ = load_reference(&renumbered(reference_sample(), &damage));
        let _ = load_dense(&renumbered(dense_sample(), &damage));
    }

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(load_packed(&bytes).is_err());
        prop_assert!(load_reference(&bytes).is_err());
        // An empty list of tensors is a dense file without matrices.
        prop_assert_eq!(load_dense(&bytes).unwrap_or(0), 0);
    }

    #[test]
    fn overwritten_bodies(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9)) {
        // Codes may be anything, so only tables and biases can be found at fault.
        let mut file = Container::split(&sample());
        for (at, value) in damage {
            let at = at.index(file.body.len());
            file.body[at] = value;
        }
        if let Err(error) = load_packed(&file.join()) {
            let Error::Layer { error: source, .. } = error else { panic!("{error}") };
            prop_assert!(matches!(*source, Error::Value { .. }), "{}", source);
        }
    }
}
