use crate::decode::{self, Finding};
use crate::{Cli, Command, memory};
use clap::Parser as _;
use clap::error::ErrorKind;
use fewbytes_wgpu::ops::sparse::Update;
use fewbytes_wgpu::{Context, OpenOptions};

fn parsed(words: &str) -> Result<Command, clap::Error> {
    let words = ["sparse_attention"].into_iter().chain(words.split_whitespace());
    Cli::try_parse_from(words).map(|cli| cli.command)
}

fn memory_of(words: &str) -> memory::Arguments {
    match parsed(&format!("memory {words}")).unwrap() {
        Command::Memory(arguments) => arguments,
        Command::Decode(_) => unreachable!(),
    }
}

fn decode_of(words: &str) -> decode::Arguments {
    match parsed(&format!("decode {words}")).unwrap() {
        Command::Decode(arguments) => arguments,
        Command::Memory(_) => unreachable!(),
    }
}

fn context() -> Context {
    pollster::block_on(Context::open(&OpenOptions::from_env())).unwrap()
}

#[test]
fn arguments_that_cannot_be_are_refused_with_words() {
    for (words, named) in [
        ("memory --rows 63", "63 is not in 64.."),
        ("memory --queries 0", "0 is not in 1.."),
        ("memory --batch 17", "17 is not in 1..=16"),
        ("decode --context 10", "10 is not in 64.."),
        ("decode --steps 0", "0 is not in 1.."),
        ("decode --group 17", "17 is not in 1..=16"),
        ("decode --tail 0", "0 is not in 1.."),
        ("decode --mode fast", "components, greedy, top-k"),
    ] {
        let error = parsed(words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words}");
        assert!(error.to_string().contains(named), "{words}: {error}");
    }
    // Without a command it says what there is.
    let kind = parsed("").unwrap_err().kind();
    assert_eq!(kind, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    for (words, named) in [
        ("memory --dim 63", "head dimension = 63"),
        ("memory --heads 0", "KV heads = 0"),
        ("memory --rows 4000000000", "rows"),
        ("decode --dim 32", "head dimension = 32"),
        ("decode --context 4000000000 --steps 400000000", "rows"),
    ] {
        let error = parsed(words).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(named), "{words}: {error}");
    }
    for words in ["memory", "decode", "decode --mode greedy --dim 256"] {
        parsed(words).unwrap().check().unwrap();
    }
}

#[test]
fn needles_are_found_by_every_mode_that_reads_all_keys() {
    // A whole batch and a short one.
    let arguments = memory_of("--rows 1000 --queries 5 --batch 4");
    let lines = memory::run(&context(), &arguments).unwrap();
    assert_eq!(lines.len(), 5);
    for line in &lines {
        assert_eq!(line.asked, 10, "{}", line.name);
        assert_eq!(line.fallbacks, 0, "{}", line.name);
        let searched = line.name.starts_with("greedy") || line.name.starts_with("components");
        assert_eq!(line.index_bytes > 0, searched, "{}", line.name);
        assert!(line.found <= line.asked);
        let few = line.name != "all rows";
        assert_eq!(line.listed < 1000.0, few, "{}: {}", line.name, line.listed);
    }
    let [.., top, all] = &lines[..] else { panic!("five lines") };
    assert_eq!((top.found, all.found), (10, 10));
    // 1000 / 64, rounded up.
    assert_eq!(top.listed, 16.0);
    assert!(all.error < 1e-5, "{}", all.error);
    assert!(top.error > all.error, "{}", top.error);
    let text = memory::text(&arguments, &lines);
    assert!(text.contains("greedy, aggressive") && text.contains("wall time"), "{text}");
}

#[test]
fn an_index_follows_a_cache_that_grows() {
    let ctx = context();
    for (mode, words) in [
        (Finding::Components, "--context 250 --steps 80 --mode components"),
        (Finding::Greedy, "--context 250 --steps 80 --mode greedy"),
        (Finding::TopK, "--context 250 --steps 3 --mode top-k"),
    ] {
        let arguments = decode_of(words);
        assert_eq!(arguments.mode, mode);
        let found = decode::run(&ctx, &arguments).unwrap();
        // 251 rows cover three steps of 64; the tail is full at 256 and at 320.
        let expected: &[(u32, Update, u32)] = match mode {
            Finding::TopK => &[],
            _ => &[(0, Update::Build, 192), (5, Update::Grow, 256), (69, Update::Grow, 320)],
        };
        assert_eq!(found.updates, expected);
        assert_eq!(found.rows, 250 + arguments.steps);
        assert_eq!(found.errors.len(), (8 * arguments.steps) as usize);
        assert!(found.listed.iter().all(|rows| *rows < found.rows), "{:?}", found.listed);
        let largest = found.errors.iter().copied().fold(0.0, f64::max);
        assert!(largest > 1e-6, "few rows are not all rows: {largest}");
        let middle = crate::median(found.errors.clone());
        assert!(middle < 0.5, "{mode:?}: {middle}");
        let text = decode::text(&arguments, &found);
        let grown = format!("{} x Grow", expected.len().saturating_sub(1));
        assert!(text.contains(&grown) && text.contains("bytes read"), "{text}");
    }
}
