//! Runs over several files, joined layers, many groups, and layers that fail.

use super::*;

#[test]
fn a_layer_that_fails_costs_no_other_and_may_have_wider_tables() {
    let folder = model();
    let x = wave(100 * 64, 0.37);
    let large: Vec<f32> = wave(4 * 64, 3.1).iter().map(|v| v * 1e6).collect();
    // The layer that fails comes first.
    let tensors = [("a.weight", [4, 64], large.clone()), ("c.weight", [6, 64], wave(6 * 64, 12.9))];
    dense(&folder.path().join("model"), &tensors);
    dense(&folder.path().join("inputs"), &[("in", [100, 64], x)]);
    let run = |more: &str| {
        let inputs = "--activations /inputs --inputs in=a,c";
        quantize(&folder, &format!("/model /out --method lnq --bits 2 {inputs} {more}"))
    };
    let text = run("").unwrap_err();
    assert!(text.contains("1 of 2 layers failed:\n  layer a: entry of the 2-bit table"), "{text}");
    assert!(
        text.contains("--f32-tables a\n") && text.contains("the others are finished"),
        "{text}"
    );
    let part = std::fs::read_dir(folder.path().join("out.parts")).unwrap().next().unwrap();
    let part = part.unwrap();
    let written = part.metadata().unwrap().modified().unwrap();
    let text = run("--f32-tables q").unwrap_err();
    assert!(text.contains("--f32-tables q: no layer is called that"), "{text}");
    let text = run("--f32-tables a --fuse ac=a,c").unwrap_err();
    assert!(text.contains("--fuse ac: some of its parts have f32 tables"), "{text}");
    let text = run("--layers a").unwrap_err();
    assert_eq!(part.metadata().unwrap().modified().unwrap(), written, "{text}");
    run("--f32-tables a").unwrap();
    let bytes = std::fs::read(folder.path().join("out")).unwrap();
    let file = PackedFile::parse("out", &bytes).unwrap();
    let element = |layer: &str| file.layer(layer).unwrap().table_element().name().to_owned();
    assert_eq!((element("a"), element("c")), ("f32".to_owned(), "f16".to_owned()));
    // Without LNQ both are named at once, had both failed; here it is one.
    let text = quantize(&folder, "/model /clusters").unwrap_err();
    assert!(text.contains("1 of 2 layers failed:\n  layer a"), "{text}");
    quantize(&folder, "/model /clusters --f32-tables a").unwrap();
    quantize(&folder, "/model /clusters --f32-tables * --force --layers c").unwrap();
}

#[test]
fn the_outputs_of_joined_layers_are_evaluated_part_by_part() {
    let folder = model();
    let small = [("a.weight", [6, 64], wave(6 * 64, 12.9)), ("b.weight", [4, 64], wave(256, 7.7))];
    dense(&folder.path().join("model"), &small);
    let inputs = "--activations /inputs --inputs h.0.in=b";
    let lnq = format!("--method lnq --bits 2 --fuse ab=a,b {inputs}");
    quantize(&folder, &format!("/model /out {lnq}")).unwrap();
    let eval = |more: &str| quantize(&folder, &format!("eval-layer /out /model {inputs} {more}"));
    eval("").unwrap();
    eval("--layers a.weight --damp 1").unwrap();
    eval("--layers ab").unwrap();
    eval("--fuse ab=a,b").unwrap();
    // The other way round it is other rows: seen by their number where it differs.
    let text = eval("--fuse ab=a").unwrap_err();
    assert!(text.contains("layer ab is 10 x 64, its weights are 6 x 64"), "{text}");
    let text = eval("--fuse ab=a,c").unwrap_err();
    assert!(text.contains("layer ab: no weights of its part c in"), "{text}");
    assert!(eval("--layers c").unwrap_err().contains("no layer and width"));
    // Clusters say what they were joined of as well.
    quantize(&folder, "/model /clusters --fuse ab=a,b").unwrap();
    quantize(&folder, &format!("eval-layer /clusters /model {inputs} --bits 3")).unwrap();
    let text = quantize(&folder, "eval-layer /clusters /inputs --activations /inputs").unwrap_err();
    assert!(text.contains("1 of 1 layer failed:\n  layer ab: no weights of its part b"), "{text}");
}

#[test]
fn folders_and_several_files_of_activations_are_read() {
    let folder = model();
    let small = [("a.weight", [6, 64], wave(6 * 64, 12.9)), ("b.weight", [4, 64], wave(256, 7.7))];
    dense(&folder.path().join("model"), &small);
    let x = wave(100 * 64, 0.37);
    let inside = folder.path().join("split");
    std::fs::create_dir(&inside).unwrap();
    let lnq = |out: &str, more: &str| {
        quantize(&folder, &format!("/model {out} --method lnq --bits 2 {more}"))
    };
    let text = lnq("/none", "--activations /split").unwrap_err();
    assert!(text.contains("there is no *.safetensors in"), "{text}");
    for layer in ["a", "b"] {
        dense(&inside.join(format!("{layer}.safetensors")), &[(layer, [100, 64], x.clone())]);
    }
    std::fs::write(inside.join("notes.txt"), "not for reading").unwrap();
    lnq("/one", "--activations /split").unwrap();
    lnq("/two", "--activations /split/b.safetensors --activations /split/a.safetensors").unwrap();
    let [one, two] = ["one", "two"].map(|file| std::fs::read(folder.path().join(file)).unwrap());
    assert_eq!(one, two);
    let sums = |layer: &str| {
        let mut sums = HessianAccumulator::new(layer, 64, 1).unwrap();
        sums.add_batch(&x, None).unwrap();
        sums.finish().unwrap()
    };
    let sums = [sums("a"), sums("b")];
    let hessians = folder.path().join("hessians");
    std::fs::create_dir(&hessians).unwrap();
    for (layer, sums) in ["a", "b"].iter().zip(&sums) {
        save_hessians(&hessians.join(format!("{layer}.safetensors")), None, &[sums]).unwrap();
    }
    lnq("/three", "--hessian /hessians").unwrap();
    // A file of the wrong size is named itself, not the first one.
    dense(&inside.join("b.safetensors"), &[("b", [100, 32], wave(3200, 0.37))]);
    let text = lnq("/out", "--activations /split").unwrap_err();
    assert!(
        text.contains("layer b has 64 inputs, and b in ") && text.contains("b.safeten"),
        "{text}"
    );
    let text = lnq("/out", "--activations /split --inputs x.*=*.q").unwrap_err();
    assert!(text.contains("--inputs x.*=*.q: no layer is called *.q"), "{text}");
    let text = lnq("/out", "--hessian /hessians --hessian /hessian --layers a").unwrap_err();
    assert!(text.contains("cannot add ") && text.contains("there are two"), "{text}");
}

#[test]
fn groups_of_every_output_are_merged_to_a_few() {
    let folder = model();
    let s: Vec<f32> = wave(100 * 6, 0.71).iter().map(|v| v * v).collect();
    let inputs = [("a.x", [100, 64], wave(100 * 64, 0.37)), ("a.s", [100, 6], s)];
    dense(&folder.path().join("inputs"), &inputs);
    let lnq = |out: &str, more: &str| {
        let words = "--method lnq --bits 2 --layers a --activations /inputs";
        quantize(&folder, &format!("/model {out} {words} {more}")).unwrap();
        let bytes = std::fs::read(folder.path().join(&out[1..])).unwrap();
        PackedFile::parse(out, &bytes).unwrap().layer("a").unwrap()
    };
    let [default, three, six] =
        [("/one", ""), ("/two", "--groups 3"), ("/three", "--groups 6")].map(|(o, m)| lnq(o, m));
    assert!(default == three && three != six);
}

#[test]
fn settings_that_no_run_can_have_are_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let error = |more: &str| {
        quantize(&folder, &format!("/none /out --method lnq --hessian /none {more}")).unwrap_err()
    };
    assert_eq!(error("--cycles 0"), "--cycles 0: at least 1 expected");
    assert!(error("--cycles 3 --labels feedback").contains("--cycles does not go with --labels"));
    for share in ["nan", "-1", "inf"] {
        let text = error(&format!("--damp={share}"));
        assert!(text.starts_with("--damp: share of the diagonal"), "{text}");
    }
    assert_eq!(files(&folder), 0);
}
