//! Whole runs on small files.

mod files;
mod residuals;

use crate::device::Device;
use crate::options::{Cli, Command};
use crate::{eval, inspect, residual, run};
use clap::Parser;
use fewbytes::linear::file::{CalibrationFile, DenseFile, PackedFile, save_hessians};
use fewbytes::linear::{HessianAccumulator, LnqLayout, Quantized, TableLayer, Weights, objectives};
use fewbytes_wgpu::{Context, OpenOptions, adapters, describe};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use std::path::Path;
use tempfile::TempDir;

/// A safetensors file of F32 matrices.
fn dense(path: &Path, tensors: &[(&str, [usize; 2], Vec<f32>)]) {
    let (mut header, mut body) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = body.len();
        body.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let offsets = [start, body.len()];
        let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets });
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.into_bytes());
    bytes.extend(body);
    std::fs::write(path, bytes).unwrap();
}

fn wave(count: usize, frequency: f32) -> Vec<f32> {
    (0..count).map(|at| (at as f32 * frequency).sin()).collect()
}

/// A model of the layers `a` and `b`, whose entries are too large for tables of f16, with the
/// inputs of both and the Hessian of `a`.
fn model() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let large = wave(4 * 64, 3.1).iter().map(|v| v * 1e6).collect();
    let tensors = [("a.weight", [6, 64], wave(6 * 64, 12.9)), ("b.weight", [4, 64], large)];
    dense(&folder.path().join("model"), &tensors);
    let x = wave(100 * 64, 0.37);
    let inputs = [("a", [100, 64], x.clone()), ("h.0.in", [100, 64], x.clone())];
    dense(&folder.path().join("inputs"), &inputs);
    let mut sums = HessianAccumulator::new("a", 64, 1).unwrap();
    sums.add_batch(&x, None).unwrap();
    save_hessians(&folder.path().join("hessian"), None, &[&sums.finish().unwrap()]).unwrap();
    folder
}

/// Runs a command whose words with a `/` in front are files of the folder.
fn quantize(folder: &TempDir, words: &str) -> Result<(), String> {
    quantize_on(&OpenOptions::from_env(), folder, words)
}

fn quantize_on(adapter: &OpenOptions, folder: &TempDir, words: &str) -> Result<(), String> {
    let place = |word: &str| match word.strip_prefix('/') {
        Some(file) => folder.path().join(file).display().to_string(),
        None => word.to_owned(),
    };
    let all = ["quantize".to_owned()].into_iter().chain(words.split_whitespace().map(place));
    let done = match Cli::try_parse_from(all).unwrap().split() {
        (Some(Command::Inspect { file }), _) => inspect::inspect(&file),
        (Some(Command::EvalLayer(options)), _) => eval::eval(&options),
        (Some(Command::Residual(options)), _) => residual::make(&options),
        (None, options) => run::run(&options.unwrap(), adapter),
    };
    done.map_err(|error| format!("{error:#}"))
}

fn files(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path()).unwrap().count()
}

#[test]
fn hessians_and_the_inputs_they_are_sums_of_give_one_result() {
    let folder = model();
    let lnq = "--method lnq --bits 2 --layers a --final-cycle";
    quantize(&folder, &format!("/model /one {lnq} --hessian /hessian")).unwrap();
    quantize(&folder, &format!("/model /two {lnq} --activations /inputs")).unwrap();
    let named = format!("/model /three {lnq} --activations /inputs --inputs h.*.in=*");
    assert!(quantize(&folder, &named).unwrap_err().contains("no activations for layer a (h.a.in)"));
    let named = format!("/model /three {lnq} --activations /inputs --inputs h.0.in=a,b");
    quantize(&folder, &named).unwrap();
    let layers = ["one", "two", "three"].map(|file| {
        let bytes = std::fs::read(folder.path().join(file)).unwrap();
        let file = PackedFile::parse(file, &bytes).unwrap();
        assert!(file.settings().unwrap().contains(r#""method":"lnq""#));
        TableLayer::new(file.layer("a").unwrap()).unwrap()
    });
    assert!(layers[0] == layers[1] && layers[1] == layers[2] && layers[0].bits() == 2);
    // Three files and three outputs: no parts are left.
    assert_eq!(files(&folder), 6);
    quantize(&folder, "inspect /one").unwrap();
    quantize(&folder, "eval-layer /one /model --hessian /hessian").unwrap();
    quantize(&folder, "eval-layer /one /model --activations /inputs --bits 2").unwrap();
    let error = quantize(&folder, "eval-layer /one /model --hessian /hessian --bits 3");
    assert!(error.unwrap_err().contains("no layer and width to evaluate"));
    let error = quantize(&folder, "eval-layer /one /inputs --hessian /hessian");
    assert!(error.unwrap_err().contains("layer a is 6 x 64, its weights are 100 x 64"));
    let error = quantize(&folder, "eval-layer /one /model");
    assert!(error.unwrap_err().contains("--hessian or --activations is needed"));
}

#[test]
fn what_there_is_no_hessian_for_is_named_with_what_there_is() {
    let folder = model();
    let error = |words: &str| quantize(&folder, &format!("/model /out --method lnq {words}"));
    let text = error("--hessian /hessian").unwrap_err();
    assert!(text.contains("no Hessian for layer b in"), "{text}");
    assert!(text.ends_with("hessian, which has a"), "{text}");
    let text = error("--activations /inputs --inputs h.0.in=b --groups 2").unwrap_err();
    assert!(text.contains("layer a: --groups 2 does not divide the 1 group of a in"), "{text}");
    let text = error("--activations /inputs --inputs h.0.in=a --inputs a=a").unwrap_err();
    assert!(text.contains("--inputs gives layer a both h.0.in and a"), "{text}");
    let text = error("--activations /model --inputs a.weight=a,b --groups 1 --layers b");
    assert!(text.unwrap_err().contains("an f16 table holds"), "6 tokens are tokens");
    let text = error("--hessian /hessian --layers a --damp=-1").unwrap_err();
    assert!(text.contains("share of the diagonal = -1 is outside 0.0.."), "{text}");
    let text = error("--hessian /model").unwrap_err();
    assert!(text.contains("[inputs, inputs]"), "{text}");
    assert!(!folder.path().join("out").exists());
}

#[test]
fn an_interrupted_run_keeps_what_is_finished_and_goes_on() {
    let folder = model();
    let inputs = "--activations /inputs --inputs h.0.in=b";
    let lnq = format!("--method lnq --bits 3 {inputs}");
    let stopped = quantize(&folder, &format!("/model /out {lnq}")).unwrap_err();
    assert!(stopped.contains("layer b: entry of the 3-bit table"), "{stopped}");
    let parts: Vec<_> = std::fs::read_dir(folder.path().join("out.parts")).unwrap().collect();
    let [Ok(part)] = parts.as_slice() else { panic!("{parts:?}") };
    let written = part.metadata().unwrap().modified().unwrap();
    // With other settings it is not taken for what it is not.
    let error = quantize(&folder, &format!("/model /out {lnq} --table f32")).unwrap_err();
    assert!(
        error.contains("layer a made from other weights, calibration data or tables"),
        "{error}"
    );
    for other in
        ["--damp 1", "--cycles 5", "--no-bias", "--labels feedback", "--start fast", "--device gpu"]
    {
        let error = quantize(&folder, &format!("/model /out {lnq} {other}")).unwrap_err();
        assert!(error.contains("out.parts holds layers of a run with other settings"), "{error}");
    }
    let x = wave(100 * 64, 0.38);
    dense(&folder.path().join("others"), &[("a", [100, 64], x.clone()), ("b", [100, 64], x)]);
    let error = quantize(&folder, "/model /out --method lnq --bits 3 --activations /others");
    assert!(error.unwrap_err().contains("other settings"));
    quantize(&folder, &format!("/model /out {lnq}")).unwrap_err();
    assert_eq!(part.metadata().unwrap().modified().unwrap(), written);
    // The very same settings with one other number: in the inputs of a, and in its weights.
    let whole = |file: &str| std::fs::read(folder.path().join(file)).unwrap();
    for file in ["inputs", "model"] {
        let (before, path) = (whole(file), folder.path().join(file));
        let mut bytes = before.clone();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        // The last number of layer a, which comes first.
        let end = header + 4 * 64 * if file == "model" { 6 } else { 100 };
        bytes[end - 2] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = quantize(&folder, &format!("/model /out {lnq}")).unwrap_err();
        assert!(error.contains("holds layer a made from other weights"), "{file}: {error}");
        std::fs::write(&path, before).unwrap();
    }
    // The rest of the run, which is no more than that layer.
    quantize(&folder, &format!("/model /out {lnq} --layers a")).unwrap();
    quantize(&folder, &format!("/model /fresh {lnq} --layers a")).unwrap();
    let [out, fresh] = ["out", "fresh"].map(|f| std::fs::read(folder.path().join(f)).unwrap());
    assert_eq!(out, fresh);
    assert!(!folder.path().join("out.parts").exists());
}

#[test]
fn groups_are_merged_and_files_go_together() {
    let folder = model();
    let x = wave(100 * 64, 0.37);
    for (layer, groups) in [("a", 2), ("b", 4)] {
        let mut sums = HessianAccumulator::new(layer, 64, groups).unwrap();
        let s: Vec<f32> = wave(100 * groups, 0.71).iter().map(|v| v * v).collect();
        sums.add_batch(&x, Some(&s)).unwrap();
        let hessian = sums.finish().unwrap();
        save_hessians(&folder.path().join(layer), None, &[&hessian]).unwrap();
    }
    let lnq = |out: &str, more: &str| {
        quantize(&folder, &format!("/model {out} --method lnq --table f32 --bits 2 {more}"))
    };
    let read = |out: &str| {
        let bytes = std::fs::read(folder.path().join(out)).unwrap();
        let file = PackedFile::parse(out, &bytes).unwrap();
        (file.layer("a").unwrap(), file.layer("b").unwrap())
    };
    let all = "--hessian /a --hessian /b";
    lnq("/finest", all).unwrap();
    lnq("/one", &format!("{all} --groups 1")).unwrap();
    lnq("/two", &format!("{all} --groups 2")).unwrap();
    let [finest, one, two] = ["finest", "one", "two"].map(read);
    assert!(finest.0 == two.0 && finest.1 != two.1 && one.0 != two.0 && one.1 != two.1);
    let error = |more: &str| lnq("/out", more).unwrap_err();
    let text = error(&format!("{all} --groups 4"));
    assert!(text.contains("--groups 4 does not divide the 2 groups of a"), "{text}");
    let text = error("--hessian /b --layers a");
    assert!(text.contains("no Hessian for layer a"), "{text}");
    let text = error(&format!("{all} --hessian /hessian"));
    assert!(text.contains("layer a: there are two of this name"), "{text}");
}

/// A model of one layer with inputs that are not alike, and sensitivities for two groups.
fn noise() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut normal = |count: usize| -> Vec<f32> {
        (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
    };
    dense(&folder.path().join("model"), &[("a.weight", [66, 70], normal(66 * 70))]);
    let s = normal(300 * 2).iter().map(|v| v * v).collect();
    let inputs = [("a.x", [300, 70], normal(300 * 70)), ("a.s", [300, 2], s)];
    dense(&folder.path().join("inputs"), &inputs);
    folder
}

/// The objective of the layer that a run made of [`noise`], and what it says of the device.
fn outcome(folder: &TempDir, file: &str) -> (f64, String) {
    let read = |file: &str| std::fs::read(folder.path().join(file)).unwrap();
    let [packed, model, inputs] = [file, "model", "inputs"].map(read);
    let packed = PackedFile::parse(file, &packed).unwrap();
    let hessian = CalibrationFile::parse("inputs", &inputs).unwrap().accumulate("a", 2).unwrap();
    let values = DenseFile::parse("model", &model).unwrap().values("a.weight").unwrap();
    let weights = Weights::new("a", 66, 70, &values, None).unwrap();
    let layer = Quantized::unpack(&packed.layer("a").unwrap(), 2).unwrap();
    let settings: serde_json::Value = serde_json::from_str(packed.settings().unwrap()).unwrap();
    let device = settings["device"].as_str().unwrap().to_owned();
    (objectives(&weights, &hessian, &layer).unwrap().iter().sum(), device)
}

#[test]
fn a_device_makes_of_a_model_what_the_cpu_does() {
    let folder = noise();
    let lnq = "--method lnq --bits 2 --activations /inputs";
    quantize(&folder, &format!("/model /cpu {lnq} --device cpu")).unwrap();
    let (expected, cpu) = outcome(&folder, "cpu");
    assert_eq!(cpu, "cpu");
    let all = pollster::block_on(adapters());
    assert!(
        !all.is_empty(),
        "this test runs kernels: `cargo xtask test` finds or installs a driver"
    );
    for adapter in all {
        let name = describe(&adapter.get_info());
        let adapter = OpenOptions { adapter: Some(name.clone()), ..OpenOptions::default() };
        let words = format!("/model /gpu {lnq} --force --device gpu");
        quantize_on(&adapter, &folder, &words).unwrap();
        let (found, device) = outcome(&folder, "gpu");
        assert_eq!(device, name);
        assert!((found - expected).abs() <= 1e-4 * expected, "{name}: {found} for {expected}");
    }
}

#[test]
fn what_a_device_does_not_do_is_refused_before_any_work() {
    let folder = noise();
    let gpu = "/model /out --method lnq --device gpu --activations /inputs";
    // Said before files are looked at.
    let error = |more: &str| {
        quantize(&folder, &format!("/missing /out --method lnq --device gpu --hessian /no {more}"))
            .unwrap_err()
    };
    let text = error("--bits 5");
    assert!(text.contains("LNQ kernels of 5 bits is not available"), "{text}");
    assert!(text.contains("--device cpu does"), "{text}");
    let text = error("--labels feedback");
    assert!(text.contains("labels by feedback") && text.contains("--device cpu does"), "{text}");
    let text = error("--cycles 0");
    assert!(text.contains("cycles") && !text.contains("--device cpu"), "{text}");
    let nowhere = OpenOptions { adapter: Some("no such".to_owned()), ..OpenOptions::default() };
    let text = quantize_on(&nowhere, &folder, gpu).unwrap_err();
    assert!(text.contains("adapter \"no such\" is not available"), "{text}");
    assert_eq!(files(&folder), 2);
}

#[test]
fn a_layer_that_no_binding_of_the_device_holds_is_refused() {
    let ctx = pollster::block_on(Context::open(&OpenOptions::from_env())).unwrap();
    let gpu = Device::Gpu(Box::new(ctx));
    let layer = |cols| LnqLayout { rows: 64, cols, bits: 3 };
    gpu.check(layer(4096), 4, true).unwrap();
    let error = format!("{:#}", gpu.check(layer(1 << 24), 1, false).unwrap_err());
    assert!(
        error.contains("64 rows of the Hessian") && error.contains("--device cpu does"),
        "{error}"
    );
    Device::Cpu.check(layer(1 << 24), 1, true).unwrap();
}
