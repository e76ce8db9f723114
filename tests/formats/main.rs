//! Files: round trips, stability of the bytes, and everything a hostile file can be.

mod caches;
mod calibration;
mod container;
mod exported;
mod fuse;
mod fuzz;
mod golden;
mod hessians;
mod hostile;
mod largest;
#[path = "../fixtures/layers.rs"]
mod layers;
mod residuals;
mod round_trip;
mod table_layer;
mod vectors;

use fewbytes::Error;
use fewbytes::linear::file::{PackedFile, read_reference, write_packed};
use fewbytes::linear::{BitplaneLayer, TableElement};
use largest::largest_request;
use layers::Wanted;

/// Two small layers that have between them every kind of tensor and header field.
fn sample() -> Vec<u8> {
    let a = Wanted { bias: true, ..Wanted::new(3, 40, 2, 4) }.layer();
    let b = Wanted { widths: vec![3, 6], table: TableElement::F32, ..Wanted::new(2, 64, 3, 6) };
    write_packed(&[("a", &a), ("b", &b.layer())]).unwrap()
}

/// Whatever a loader lets through has to be usable at every width, and storable again.
fn assert_consistent(layer: &BitplaneLayer) {
    let count = layer.rows() * layer.cols();
    let parent = layer.codes(layer.parent_bits()).unwrap();
    assert!(layer.tables().widths().count() > 0);
    for bits in 0..=9 {
        let listed = layer.tables().widths().any(|width| width == bits);
        assert_eq!(layer.check_width(bits).is_ok(), listed, "{bits}");
        if listed {
            let shift = layer.parent_bits() - bits;
            assert!(
                layer
                    .codes(bits)
                    .unwrap()
                    .iter()
                    .eq(&parent.iter().map(|code| code >> shift).collect::<Vec<_>>())
            );
            let dense = layer.dequantize(bits).unwrap();
            assert!(dense.len() == count && dense.iter().all(|v| v.is_finite()));
        } else {
            layer.dequantize(bits).unwrap_err();
        }
    }
    let again = write_packed(&[("again", layer)]).unwrap();
    let again = PackedFile::parse("again", &again).unwrap().layer("again").unwrap();
    assert_eq!(&again, layer);
}

/// Memory that one allocation may take: a header of JSON costs some times its text, a layer no
/// more than its bytes in the file.
fn allowance(bytes: &[u8]) -> usize {
    (64 << 10) + 8 * bytes.len()
}

/// Loads every layer of a packed file that may be damaged; the first error, if any.
fn load_packed(bytes: &[u8]) -> Result<Vec<BitplaneLayer>, Error> {
    let (loaded, largest) = largest_request(|| {
        let file = PackedFile::parse("file", bytes)?;
        let names: Vec<_> = file.layers().map(|(name, header)| (name, header.clone())).collect();
        let mut layers = Vec::new();
        for (name, header) in names {
            match file.layer(name) {
                Ok(layer) => {
                    assert!(layer.tables().widths().eq(header.widths));
                    let found = (layer.rows(), layer.cols(), layer.table_element());
                    assert_eq!(found, (header.rows, header.cols, header.table));
                    layers.push(layer);
                }
                Err(Error::Layer { layer, error: source }) => {
                    assert_eq!(layer, name);
                    return Err(source.in_layer(&layer));
                }
                Err(other) => panic!("{other} does not name the layer"),
            }
        }
        Ok(layers)
    });
    assert!(largest <= allowance(bytes), "{largest} bytes for a file of {}", bytes.len());
    if let Ok(layers) = &loaded {
        layers.iter().for_each(assert_consistent);
    }
    loaded
}

/// The same for a file in the published layout.
fn load_reference(bytes: &[u8]) -> Result<Vec<(String, BitplaneLayer)>, Error> {
    let (loaded, largest) = largest_request(|| read_reference("file", bytes));
    assert!(largest <= allowance(bytes), "{largest} bytes for a file of {}", bytes.len());
    if let Ok(layers) = &loaded {
        layers.iter().for_each(|(_, layer)| assert_consistent(layer));
    }
    loaded
}
