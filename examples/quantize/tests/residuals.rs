//! Residuals of packed layers of every kind, what they give back, and what is refused.

use super::*;
use fewbytes::linear::file::{ResidualFile, VectorFile, save_vectors};
use fewbytes::linear::select::{Norms, Ranking, ThresholdsAccumulator};
use fewbytes::linear::{
    ResidualElement, ResidualLayer, TableElement, VectorLayer, VectorShape, quantize_residual,
};
use half::f16;

const COLS: usize = 70;

/// Layers `q`, `k` and `v` with common inputs and `o` with its own, where the last is quantized to
/// wider tables, and activations by the names `in` and `o`.
fn block() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let mut normal = |count: usize| -> Vec<f32> {
        (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
    };
    let mut layer = |rows: usize| ([rows, COLS], normal(rows * COLS));
    let [q, k, v, o] = [9, 6, 5, 8].map(&mut layer);
    let named = [("q.weight", q), ("k.weight", k), ("v.weight", v), ("o.weight", o)];
    dense(&folder.path().join("model"), &named.map(|(n, (shape, w))| (n, shape, w)));
    let inputs = [("in", [30, COLS], normal(30 * COLS)), ("o", [30, COLS], normal(30 * COLS))];
    dense(&folder.path().join("inputs"), &inputs);
    folder
}

fn bytes(folder: &TempDir, file: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(file)).unwrap()
}

/// Tensors of a dense file one after the other.
fn values(folder: &TempDir, file: &str, tensors: &[&str]) -> Vec<f32> {
    let bytes = bytes(folder, file);
    let file = DenseFile::parse(file, &bytes).unwrap();
    tensors.iter().flat_map(|tensor| file.values(tensor).unwrap()).collect()
}

struct Stored {
    layer: ResidualLayer,
    thresholds: Option<Vec<f32>>,
    norms: Option<Vec<f16>>,
}

fn stored(folder: &TempDir, file: &str, layer: &str) -> Stored {
    let bytes = bytes(folder, file);
    let file = ResidualFile::parse(file, &bytes).unwrap();
    let [thresholds, norms] = [file.thresholds(layer).err(), file.norms(layer).err()];
    assert!(thresholds.is_none() && norms.is_none(), "{thresholds:?} {norms:?}");
    Stored {
        layer: file.layer(layer).unwrap(),
        thresholds: file.thresholds(layer).unwrap(),
        norms: file.norms(layer).unwrap(),
    }
}

fn names(folder: &TempDir, file: &str) -> Vec<String> {
    let bytes = bytes(folder, file);
    let file = ResidualFile::parse(file, &bytes).unwrap();
    file.layers().map(|(name, _)| name.to_owned()).collect()
}

fn settings(folder: &TempDir, file: &str) -> serde_json::Value {
    let bytes = bytes(folder, file);
    let file = ResidualFile::parse(file, &bytes).unwrap();
    serde_json::from_str(file.settings().unwrap()).unwrap()
}

fn decoded(folder: &TempDir, file: &str, layer: &str, bits: u8) -> Vec<f32> {
    let bytes = bytes(folder, file);
    PackedFile::parse(file, &bytes).unwrap().layer(layer).unwrap().dequantize(bits).unwrap()
}

/// That packed weights and residual are the dense weights: within half a scale where no code is
/// clamped, and within f16 where there is no scale. Returns how many codes were clamped.
fn assert_given_back(weights: &[f32], base: &[f32], residual: &ResidualLayer) -> usize {
    let (cols, element) = (residual.cols(), residual.element());
    assert_eq!((weights.len(), base.len()), (residual.rows() * cols, residual.rows() * cols));
    let mut clamped = 0;
    for (at, (w, base)) in weights.iter().zip(base).enumerate() {
        let (row, col) = (at / cols, at % cols);
        let (w, base) = (f64::from(*w), f64::from(*base));
        let given = f64::from(residual.value(row, col).unwrap());
        let lost = (w - base).abs();
        let bound = if element.scaled() {
            let scale = residual.scales()[row].to_f64();
            if lost > scale * (f64::from(element.largest()) + 0.5) {
                clamped += 1;
                continue;
            }
            scale / 2.0
        } else {
            // Half a unit of the last of 11 bits, or of the smallest numbers.
            lost / 2048.0 + 0.5f64.powi(25)
        };
        // The difference and its quotient are rounded to f32 once each.
        let slack = lost * 0.5f64.powi(23);
        assert!((w - (base + given)).abs() <= bound + slack, "{element:?} {row} {col}: {w}");
    }
    clamped
}

#[test]
fn packed_weights_and_their_residuals_are_the_dense_weights() {
    let folder = block();
    quantize(&folder, "/model /f16").unwrap();
    quantize(&folder, "/model /f32 --f32-tables o,q").unwrap();
    for (element, stored_as) in [
        ("int2", ResidualElement::Int2),
        ("int4", ResidualElement::Int4),
        ("int8", ResidualElement::Int8),
        ("f16", ResidualElement::F16),
    ] {
        for (file, bits) in [("f16", 3), ("f32", 4), ("f16", 8)] {
            let words = format!("residual /{file} /model /out --bits {bits} --element {element}");
            quantize(&folder, &format!("{words} --force --norms")).unwrap();
            quantize(&folder, "inspect /out").unwrap();
            assert_eq!(names(&folder, "out"), ["k", "o", "q", "v"]);
            for name in ["q", "k", "v", "o"] {
                let weights = values(&folder, "model", &[&format!("{name}.weight")]);
                let base = decoded(&folder, file, name, bits);
                let Stored { layer, thresholds, norms } = stored(&folder, "out", name);
                assert_eq!(layer.element(), stored_as);
                let clamped = assert_given_back(&weights, &base, &layer);
                // The least sum of squares leaves few codes of 4 bits out of reach.
                let most = if stored_as == ResidualElement::Int2 { weights.len() / 2 } else { 20 };
                assert!(clamped <= most, "{name}, {element}: {clamped}");
                let rows = weights.len() / COLS;
                let dense = Weights::new(name, rows, COLS, &weights, None).unwrap();
                assert_eq!(layer, quantize_residual(&dense, &base, stored_as).unwrap().0);
                assert!(thresholds.is_none());
                assert_eq!(
                    norms.unwrap(),
                    Norms::of_columns(&layer.dequantize(), COLS).unwrap().values()
                );
            }
        }
    }
    let made = settings(&folder, "out");
    assert_eq!(made["element"], "f16");
    assert_eq!(made["base"], serde_json::json!({ "file": "f16", "format": "bitplane", "bits": 8 }));
    assert_eq!(made["weights"], "model");
    quantize(&folder, "residual /f16 /model /some --bits 3 --layers q,o.weight").unwrap();
    assert_eq!(names(&folder, "some"), ["o", "q"]);
    assert_eq!(settings(&folder, "some")["element"], "int4");
    assert!(stored(&folder, "some", "q").norms.is_none());
}

#[test]
fn joined_layers_have_one_residual_of_all_their_rows() {
    let folder = block();
    quantize(&folder, "/model /packed --fuse qkv=q,k,v").unwrap();
    quantize(&folder, "residual /packed /model /out --bits 3").unwrap();
    assert_eq!(names(&folder, "out"), ["o", "qkv"]);
    let weights = values(&folder, "model", &["q.weight", "k.weight", "v.weight"]);
    let base = decoded(&folder, "packed", "qkv", 3);
    let joined = stored(&folder, "out", "qkv").layer;
    assert_eq!((joined.rows(), joined.cols()), (20, COLS));
    assert!(assert_given_back(&weights, &base, &joined) <= 40);
    // Told by the command line, the same; by a part's name, too.
    quantize(&folder, "residual /packed /model /told --bits 3 --fuse qkv=q,k,v --layers k")
        .unwrap();
    assert_eq!(names(&folder, "told"), ["qkv"]);
    assert_eq!(stored(&folder, "told", "qkv").layer, joined);
    let text =
        quantize(&folder, "residual /packed /model /no --bits 3 --fuse qkv=q,k").unwrap_err();
    assert!(text.contains("layer qkv is 20 x 70, its weights are 15 x 70"), "{text}");
    let text = quantize(&folder, "residual /packed /model /no --bits 3 --fuse qkv=q,k,w");
    assert!(text.unwrap_err().contains("layer qkv: no weights of its part w in"));
    // Another order has the same shape, and rows that are not these.
    quantize(&folder, "residual /packed /model /other --bits 3 --fuse qkv=k,q,v").unwrap();
    assert_ne!(stored(&folder, "other", "qkv").layer, joined);
    assert!(!folder.path().join("no").exists());
}

#[test]
fn layers_of_one_width_need_no_width() {
    let folder = block();
    let inputs = "--activations /inputs --inputs in=q,k,v";
    quantize(&folder, &format!("/model /lnq --method lnq --bits 2 {inputs}")).unwrap();
    quantize(&folder, "residual /lnq /model /out").unwrap();
    let weights = values(&folder, "model", &["o.weight"]);
    assert_given_back(
        &weights,
        &decoded(&folder, "lnq", "o", 2),
        &stored(&folder, "out", "o").layer,
    );
    assert_eq!(settings(&folder, "out")["base"]["bits"], 2);
    let text = quantize(&folder, "residual /lnq /model /no --bits 3").unwrap_err();
    assert!(text.contains("4 of 4 layers failed"), "{text}");
    assert!(text.contains("layer k: width 3 is not available: the layer has 2 bits"), "{text}");

    // The published layout, whose columns are multiples of 32.
    let wide: Vec<f32> = values(&folder, "model", &["q.weight"])[..9 * 64].to_vec();
    dense(&folder.path().join("wide"), &[("q.weight", [9, 64], wide.clone())]);
    quantize(&folder, "/wide /published --format reference").unwrap();
    quantize(&folder, "residual /published /wide /theirs --bits 4").unwrap();
    let published = fewbytes::linear::file::read_reference("p", &bytes(&folder, "published"));
    let base = published.unwrap()[0].1.dequantize(4).unwrap();
    assert_given_back(&wide, &base, &stored(&folder, "theirs", "q").layer);
    assert_eq!(settings(&folder, "theirs")["base"]["format"], "published");
}

#[test]
fn weights_in_pairs_have_residuals_as_well() {
    let folder = block();
    let layer = |rows: usize, code_bits: u8| {
        let shape = VectorShape { rows, cols: COLS, code_bits };
        let codes: Vec<u8> =
            (0..rows * COLS / 2).map(|at| (at * 7 % (1 << code_bits)) as u8).collect();
        let table = wave(rows << (code_bits + 1), 1.7);
        VectorLayer::from_codes(shape, &codes, TableElement::F16, &table, None).unwrap()
    };
    let (q, o) = (layer(9, 4), layer(8, 6));
    save_vectors(&folder.path().join("pairs"), &[("q", &q), ("o", &o)]).unwrap();
    quantize(&folder, "residual /pairs /model /out --element int8").unwrap();
    for (name, layer) in [("q", &q), ("o", &o)] {
        let weights = values(&folder, "model", &[&format!("{name}.weight")]);
        let found = stored(&folder, "out", name).layer;
        assert!(assert_given_back(&weights, &layer.dequantize(), &found) < 20);
    }
    let base = settings(&folder, "out")["base"].clone();
    let bits = serde_json::json!({ "q": 4, "o": 6 });
    assert_eq!(base, serde_json::json!({ "file": "pairs", "format": "vector-2d", "bits": bits }));
    let text = quantize(&folder, "residual /pairs /model /no --bits 4").unwrap_err();
    assert!(text.contains("1 of 2 layers failed:\n  layer o: width 4 is not"), "{text}");
    quantize(&folder, "residual /pairs /model /one --bits 4 --layers q").unwrap();
    assert_eq!(names(&folder, "one"), ["q"]);
    let bytes = bytes(&folder, "pairs");
    assert_eq!(VectorFile::parse("pairs", &bytes).unwrap().layer("o").unwrap(), o);
}

#[test]
fn thresholds_are_those_of_the_activations() {
    let folder = block();
    quantize(&folder, "/model /packed --fuse qkv=q,k,v").unwrap();
    let make = |out: &str, more: &str| {
        quantize(&folder, &format!("residual /packed /model {out} --bits 3 {more}"))
    };
    make("/out", "--activations /inputs --inputs in=q,k,v --norms").unwrap();
    for (layer, tensor) in [("qkv", "in"), ("o", "o")] {
        let x = values(&folder, "inputs", &[tensor]);
        // From the definition: the largest of all tokens at every rank.
        let mut expected = vec![0.0f32; COLS];
        for token in x.chunks_exact(COLS) {
            let mut sorted: Vec<f32> = token.iter().map(|x| x.abs()).collect();
            sorted.sort_by(|a, b| b.total_cmp(a));
            expected.iter_mut().zip(sorted).for_each(|(t, x)| *t = t.max(x));
        }
        let found = stored(&folder, "out", layer).thresholds.unwrap();
        assert_eq!(found, expected);
        // Not of magnitudes that norms weigh.
        let norms = Norms::new(stored(&folder, "out", layer).norms.unwrap()).unwrap();
        let mut weighted = ThresholdsAccumulator::new(layer, COLS).unwrap();
        let weigh = |x: &[f32]| Ranking::Weighted(norms.clone()).magnitudes(x).unwrap();
        x.chunks_exact(COLS).for_each(|x| weighted.add_batch(&weigh(x)).unwrap());
        assert_ne!(weighted.finish().unwrap().values(), found);
    }
    // Under the joined layer's own name, or a part each with other tokens.
    make("/own", "--activations /inputs --inputs in=qkv").unwrap();
    let [out, own] = ["out", "own"].map(|file| stored(&folder, file, "qkv").thresholds.unwrap());
    assert_eq!(out, own);
    make("/both", "--activations /inputs --inputs in=q,k --inputs o=v").unwrap();
    let other = stored(&folder, "out", "o").thresholds.unwrap();
    let most: Vec<f32> = out.iter().zip(&other).map(|(a, b)| a.max(*b)).collect();
    assert_eq!(stored(&folder, "both", "qkv").thresholds.unwrap(), most);
    assert!(settings(&folder, "own")["thresholds"]["activations"][0] == "inputs");
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let folder = block();
    quantize(&folder, "/model /packed").unwrap();
    let before = files(&folder);
    let error = |words: &str| quantize(&folder, &format!("residual {words}")).unwrap_err();
    let text = error("/packed /model /out");
    assert!(text.contains("4 of 4 layers failed:\n  layer k: a residual of all widths"), "{text}");
    assert!(text.contains("has 3, 4, 5, 6, 7, 8 bits") && text.contains("--bits"), "{text}");
    let text = error("/packed /model /out --bits 2");
    assert!(text.contains("layer q: width 2 is not available"), "{text}");
    let text = error("/packed /inputs /out --bits 3 --layers q");
    assert!(text.contains("no weights of layer q in"), "{text}");
    let text = error("/packed /inputs /out --bits 3 --layers o");
    assert!(text.contains("layer o is 8 x 70, its weights are 30 x 70"), "{text}");
    let text = error("/packed /model /out --bits 3 --layers none");
    assert!(text.contains("no layer to make a residual of in"), "{text}");
    let text = error("/packed /model /packed --bits 3 --force");
    assert!(text.contains("is also an input"), "{text}");
    let text = error("/packed /model /out --bits 3 --inputs in=q");
    assert_eq!(text, "--inputs names what is in --activations");
    let text = error("/packed /model /out --bits 3 --activations /inputs");
    assert!(text.contains("3 of 4 layers failed:\n  no activations for layer k in"), "{text}");
    let text = error("/packed /model /out --bits 3 --activations /inputs --inputs in=z");
    assert!(text.contains("--inputs in=z: no layer is called z"), "{text}");
    let text = error("/packed /model /missing/out --bits 3");
    assert!(text.contains("the folder of"), "{text}");
    let text = error("/model /model /out --bits 3");
    assert!(text.contains("no layers to make residuals of"), "{text}");
    assert_eq!(files(&folder), before);

    // Numbers that are none, in weights and in activations, and inputs of other layers.
    let bad = |count: usize, at: usize| {
        let mut values = wave(count * COLS, 0.9);
        values[at] = f32::NAN;
        values
    };
    dense(&folder.path().join("nan"), &[("o.weight", [8, COLS], bad(8, COLS + 2))]);
    let text = error("/packed /nan /out --bits 3 --layers o");
    assert!(text.contains("nothing was written: 1 of 1 layer failed"), "{text}");
    assert!(text.contains("layer o: weight at row 1, column 2 is NaN: must be finite"), "{text}");
    dense(&folder.path().join("x"), &[("o", [4, COLS], bad(4, 3)), ("q", [4, 69], wave(276, 0.9))]);
    let text = error("/packed /model /out --bits 3 --layers o --activations /x");
    assert!(
        text.contains("layer o: in ") && text.contains("x at row 0, column 3 is NaN"),
        "{text}"
    );
    let text = error("/packed /model /out --bits 3 --layers q --activations /x");
    assert!(text.contains("layer q has 70 inputs, and q in "), "{text}");
    assert!(text.ends_with("is of 69"), "{text}");
    // A residual that f16 does not hold.
    let large = wave(8 * COLS, 0.9).iter().map(|v| v * 1e8).collect();
    dense(&folder.path().join("large"), &[("o.weight", [8, COLS], large)]);
    for element in ["int4", "f16"] {
        let words = format!("/packed /large /out --bits 3 --layers o --element {element}");
        let text = error(&words);
        assert!(text.contains("layer o: residual at row 0"), "{text}");
    }
    assert_eq!(files(&folder), before + 3);

    // What is there stays until it is replaced as a whole.
    quantize(&folder, "residual /packed /model /out --bits 3").unwrap();
    let first = bytes(&folder, "out");
    let text = error("/packed /model /out --bits 4");
    assert!(text.contains("out exists; --force replaces it"), "{text}");
    error("/packed /nan /out --bits 4 --layers o --force");
    assert_eq!(bytes(&folder, "out"), first);
    quantize(&folder, "residual /packed /model /out --bits 4 --force").unwrap();
    assert_ne!(bytes(&folder, "out"), first);
    assert_eq!(files(&folder), before + 4);
}

#[test]
fn inspecting_checks_every_layer_of_a_file() {
    let folder = block();
    quantize(&folder, "/model /packed").unwrap();
    quantize(&folder, "residual /packed /model /out --bits 3 --norms").unwrap();
    quantize(&folder, "inspect /out").unwrap();
    let whole = bytes(&folder, "out");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let text: serde_json::Value = serde_json::from_slice(&whole[8..header]).unwrap();
    for (tensor, bad, expected) in [
        // Of 8 outputs the words after the first are padding.
        ("o.residual", [1, 0], "layer o: word of the residual"),
        ("v.scales", [0, 0xfc], "layer v: scale of the residual"),
        ("k.norms", [0, 0x7e], "layer k: norm of a channel"),
    ] {
        let mut damaged = whole.clone();
        let at = text[tensor]["data_offsets"][0].as_u64().unwrap() as usize + header;
        let at = if tensor.ends_with("residual") { at + 4 } else { at };
        damaged[at..at + 2].copy_from_slice(&bad);
        std::fs::write(folder.path().join("damaged"), damaged).unwrap();
        let error = quantize(&folder, "inspect /damaged").unwrap_err();
        assert!(error.contains("1 of 4 layers failed") && error.contains(expected), "{error}");
    }
    let cut = &whole[..whole.len() - 4];
    std::fs::write(folder.path().join("cut"), cut).unwrap();
    assert!(quantize(&folder, "inspect /cut").is_err());
    // A later version is told as such, not as some other file.
    let newer =
        String::from_utf8_lossy(&whole[8..header]).replace("version\\\":1", "version\\\":2");
    let newer = [&whole[..8], newer.as_bytes(), &whole[header..]].concat();
    std::fs::write(folder.path().join("newer"), newer).unwrap();
    let error = quantize(&folder, "inspect /newer").unwrap_err();
    assert!(error.contains("expected (\"residual\", 1, \"channel-1\")"), "{error}");
    // A residual is no base.
    let error = quantize(&folder, "residual /out /model /no --bits 3").unwrap_err();
    assert!(error.contains("found (\"residual\", 1, \"channel-1\")"), "{error}");
}
