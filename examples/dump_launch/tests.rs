use super::{Arguments, attention, index, kernels, launches, sparse as finding};
use clap::Parser as _;
use fewbytes::attention::{ROW_MAP, decode, sparse};
use fewbytes::launch::Launch;
use serde_json::Value;

/// The file of the layout, and the launches.
fn dumped(arguments: &[&str]) -> (Option<Value>, Vec<Launch>) {
    let arguments = ["dump_launch"].iter().chain(arguments);
    let (layout, launches) = launches(&Arguments::parse_from(arguments)).unwrap();
    (layout.map(|text| serde_json::from_str(&text).unwrap()), launches)
}

fn kernels_of(launches: &[Launch]) -> Vec<&'static str> {
    launches.iter().map(Launch::kernel).collect()
}

#[test]
fn every_name_is_launched() {
    for name in kernels::names() {
        // Both are of kernels that have other names.
        let expected = match name {
            "matmul_bitplane" => continue,
            "decode" => "decode_merge",
            "max_attention" => "score_lse",
            "build_index" => "merge_columns",
            "sparse_step" => "attend_rows",
            _ => name,
        };
        let (_, launches) = dumped(&[name]);
        let kernels = kernels_of(&launches);
        assert!(kernels.contains(&expected), "{name}: {kernels:?}");
    }
}

#[test]
fn kernels_over_caches_come_alone_or_one_after_the_other() {
    for name in ["append_kv", "gather_kv", "decode_split", "decode_merge", "score_merge"] {
        let (_, launches) = dumped(&[name]);
        assert!(kernels_of(&launches).iter().all(|kernel| *kernel == name), "{name}");
    }
    assert_eq!(kernels_of(&dumped(&["decode"]).1), ["decode_split", "decode_merge"]);
    let both = kernels_of(&dumped(&["max_attention"]).1);
    assert_eq!(&both[..2], ["score_lse", "score_max"]);
    for name in ["key_columns", "row_sums", "sort_columns", "merge_columns", "list_rows"] {
        let (layout, launches) = dumped(&[name, "--element", "int8", "--page-rows", "32"]);
        assert!(kernels_of(&launches).iter().all(|kernel| *kernel == name), "{name}");
        let words = layout.unwrap()["index_map"].as_array().unwrap().len() as u64;
        let bound = launches[0].operands().iter().find(|o| o.binding == sparse::INDEX_MAP).unwrap();
        assert_eq!(bound.bytes, 4 * words, "{name}");
    }
    let all = kernels_of(&dumped(&["build_index"]).1);
    assert_eq!(all[..4], ["key_columns", "row_sums", "row_sums", "sort_columns"]);
}

#[test]
fn steps_find_rows_as_asked_and_attend_to_them() {
    let step = |mode: &str| {
        let (layout, launches) = dumped(&["sparse_step", "--mode", mode, "--kept", "64"]);
        let map = layout.unwrap()["index_map"].clone();
        (kernels_of(&launches), map, launches)
    };
    let (kernels, budgeted, launches) = step("components");
    let of = ["component_scores", "top_rows", "attend_rows", "decode_merge"];
    assert_eq!(kernels, of);
    let lists = |launches: &[Launch]| {
        let mut operands = launches.iter().flat_map(Launch::operands);
        operands.find(|operand| operand.binding == sparse::LISTS).unwrap().bytes
    };
    // 8 heads, and room for sinks, the new row and words in fours.
    assert_eq!(lists(&launches), 8 * 4 * 72);
    let (kernels, other, launches) = step("greedy");
    let found = ["greedy_runs", "greedy_hits", "list_rows", "score_rows", "attend_scored"];
    assert!(found.iter().all(|kernel| kernels.contains(kernel)), "{kernels:?}");
    assert_eq!(lists(&launches), 8 * 4 * 4100);
    assert_ne!(budgeted, other, "budgets of a search are in the map");
    let (kernels, ..) = step("top-k");
    let of = ["score_rows", "score_rows", "top_rows", "attend_scored", "decode_merge"];
    assert_eq!(kernels, of);
    for name in ["attend_rows", "attend_scored"] {
        let (_, launches) = dumped(&[name, "--element", "int8", "--kept", "100"]);
        assert_eq!(kernels_of(&launches), [name]);
        assert_eq!(lists(&launches), 8 * 4 * 100, "{name}");
    }
}

#[test]
fn schedules_and_maps_are_as_long_as_what_is_bound() {
    for paged in [&[][..], &["--page-rows", "16"]] {
        for element in ["f32", "f16", "bf16", "int8", "int4"] {
            for (name, what, binding) in [
                ("decode_split", "schedule", decode::SCHEDULE),
                ("decode", "schedule", decode::SCHEDULE),
                ("prefill", "row_map", ROW_MAP),
                ("score_lse", "row_map", ROW_MAP),
                ("score_max", "row_map", ROW_MAP),
            ] {
                let arguments = [&[name, "--element", element, "--context", "500"], paged].concat();
                let (layout, launches) = dumped(&arguments);
                let layout = layout.unwrap();
                let words = layout[what].as_array().unwrap().len() as u64;
                let bound = launches[0].operands().iter().find(|o| o.binding == binding).unwrap();
                assert_eq!(bound.bytes, 4 * words, "{arguments:?}");
                let rows = layout["cache"]["rows"].as_u64().unwrap();
                let row_words = layout["cache"]["row_words"].as_u64().unwrap();
                let keys =
                    launches[0].operands().iter().find(|o| o.binding == decode::KEYS).unwrap();
                assert_eq!(keys.bytes, 4 * rows * row_words, "{arguments:?}");
                let table = layout["cache"]["page_table"].as_array().unwrap();
                assert_eq!(table.is_empty(), paged.is_empty(), "{arguments:?}");
            }
        }
    }
}

#[test]
fn subgroups_are_asked_for_by_decoding() {
    let variant = |arguments: &[&str]| dumped(arguments).1[0].variant();
    assert_eq!(variant(&["decode_split"]), "baseline");
    assert_eq!(variant(&["decode_split", "--subgroups"]), "subgroup");
}

#[test]
fn what_cannot_be_is_refused() {
    for (arguments, named) in [
        (vec!["gather_kv", "--kept", "5000"], "5000 rows"),
        (vec!["decode", "--head-dim", "63"], "head dimension"),
        (vec!["prefill", "--context", "200000"], "keys"),
        (vec!["sparse_step", "--components", "129"], "components"),
        (vec!["attend_rows", "--tokens", "5"], "query rows"),
    ] {
        let parsed = Arguments::parse_from(["dump_launch"].iter().chain(&arguments));
        let Err(error) = launches(&parsed) else { panic!("{arguments:?}") };
        assert!(error.to_string().contains(named), "{error}");
    }
    assert!(Arguments::try_parse_from(["dump_launch", "decode_all"]).is_err());
    let caches = attention::NAMES.len() + index::NAMES.len() + finding::NAMES.len();
    assert_eq!(caches + 16, kernels::names().len());
}
