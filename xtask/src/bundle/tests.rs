//! The bundle's folder, archive and script, with programs that are scripts themselves.

use super::*;

fn item(name: &'static str, bytes: impl Into<Vec<u8>>, executable: bool) -> Item {
    Item { name, bytes: bytes.into(), executable }
}

#[test]
fn a_bundle_that_is_too_large_is_refused_with_its_size_and_the_limit() {
    let small = item("run.sh", vec![0; 10], true);
    let fits = [item("doctor", vec![0; LIMIT as usize - 10], true), small];
    check_size(&fits).unwrap();
    let [doctor, small] = fits;
    let large = [doctor, small, item("README.txt", "!", false)];
    let error = check_size(&large).unwrap_err().to_string();
    for word in ["41943041", "41943040", "40.0 MiB", "doctor"] {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(write(folder.path(), &large).is_err());
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "something was written");
}

#[test]
fn an_older_bundle_is_replaced_and_nothing_else_is() {
    let out = tempfile::tempdir().unwrap();
    let folder = write(out.path(), &[item("run.sh", "1", true), item("old", "", false)]).unwrap();
    write(out.path(), &[item("run.sh", "2", true)]).unwrap();
    assert_eq!(fs::read(folder.join("run.sh")).unwrap(), b"2");
    assert!(!folder.join("old").exists());

    fs::create_dir(folder.join("results")).unwrap();
    let error = write(out.path(), &[item("run.sh", "3", true)]).unwrap_err().to_string();
    assert!(error.contains("results"), "{error}");
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    let error = write(out.path(), &[item("run.sh", "4", true)]).unwrap_err().to_string();
    assert!(error.contains("no bundle"), "{error}");
}

#[test]
fn the_archive_holds_the_folder_and_is_the_same_every_time() {
    let out = tempfile::tempdir().unwrap();
    let items = [item("run.sh", "#!/bin/sh", true), item("README.txt", "read", false)];
    let [first, second] = ["1.tar.gz", "2.tar.gz"].map(|name| out.path().join(name));
    archive::write(&first, &items).unwrap();
    archive::write(&second, &items).unwrap();
    let bytes = fs::read(&first).unwrap();
    assert_eq!(bytes, fs::read(&second).unwrap());
    let mut found = Vec::new();
    let mut read = tar::Archive::new(flate2::read::GzDecoder::new(&*bytes));
    for entry in read.entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        found.push((path, entry.header().mode().unwrap(), entry.size()));
    }
    let expected = [("fewbytes-bundle/run.sh", 0o755, 9), ("fewbytes-bundle/README.txt", 0o644, 4)];
    assert_eq!(found, expected.map(|(path, mode, size)| (path.to_owned(), mode, size)));
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod script {
    use super::*;
    use std::process::{Command, Output};

    /// Runs the script beside a doctor and a roofline that end with these codes and write down
    /// their arguments; `list` is the doctor's code for `--list`.
    fn run(floor: &str, list: i32, doctor: i32, roofline: i32, args: &[&str]) -> (Output, String) {
        let out = tempfile::tempdir().unwrap();
        let program = |code: i32, name: &str| {
            format!(
                "#!/bin/sh\n[ \"$*\" != --list ] || {{ echo listed >&2; exit {list}; }}\n\
                 echo \"{name} $*\"\nexit {code}\n"
            )
        };
        let items = [
            item("run.sh", RUN.replace("@GLIBC@", floor), true),
            item("doctor", program(doctor, "doctor"), true),
            item("roofline", program(roofline, "roofline"), true),
        ];
        let folder = write(out.path(), &items).unwrap();
        let output = Command::new("sh").arg(folder.join("run.sh")).args(args).output().unwrap();
        let mut kept = String::new();
        for name in ["doctor.txt", "roofline.txt"] {
            let text = fs::read_to_string(folder.join("results/run-1").join(name));
            kept.push_str(&text.unwrap_or_default());
        }
        (output, kept.replace(&out.path().display().to_string(), "OUT"))
    }

    #[test]
    fn both_programs_run_and_what_they_say_is_kept() {
        let (output, kept) = run("2.2", 0, 0, 0, &["--quick", "--filter", "a b"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let results = "OUT/fewbytes-bundle/results/run-1";
        let expected = format!(
            "doctor \nroofline --json {results}/roofline.json --svg {results}/roofline.svg \
             --quick --filter a b\n"
        );
        assert_eq!(kept, expected);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.lines().any(|line| line.ends_with("results/run-1")), "{said}");
        assert!(said.contains("send"), "{said}");
    }

    #[test]
    fn a_doctor_that_fails_ends_the_run() {
        let (output, kept) = run("2.2", 0, 1, 0, &[]);
        assert_eq!((output.status.code(), kept.as_str()), (Some(1), "doctor \n"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("doctor found something wrong"), "{said}");
    }

    #[test]
    fn a_roofline_that_fails_is_not_hidden() {
        let (output, kept) = run("2.2", 0, 0, 1, &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(kept.contains("roofline --json"), "{kept}");
    }

    #[test]
    fn a_wrong_option_ends_the_run_before_the_doctor_starts() {
        let (output, kept) = run("2.2", 0, 0, 2, &["--nonsense"]);
        assert_eq!((output.status.code(), kept.as_str()), (Some(2), ""));
    }

    #[test]
    fn options_that_the_script_uses_itself_are_refused_before_the_doctor_starts() {
        for option in ["--json", "--svg=picture.svg", "--list"] {
            let (output, kept) = run("2.2", 0, 0, 0, &["--quick", option, "x"]);
            assert_eq!((output.status.code(), kept.as_str()), (Some(2), ""), "{option}");
            let said = String::from_utf8(output.stderr).unwrap();
            let name = option.split('=').next().unwrap();
            assert!(said.starts_with("error: run.sh") && said.contains(name), "{said}");
        }
    }

    #[test]
    fn a_program_that_does_not_start_is_told_with_its_words() {
        for code in [126, 127, 139] {
            let (output, kept) = run("2.2", code, 0, 0, &[]);
            assert_eq!((output.status.code(), kept.as_str()), (Some(4), ""), "{code}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("listed") && said.contains(&format!("code {code}")), "{said}");
        }
        let (output, kept) = run("2.2", 0, 0, 126, &["--quick"]);
        assert_eq!((output.status.code(), kept.as_str()), (Some(4), ""));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("./roofline does not start"), "{said}");
    }

    #[test]
    fn no_adapter_is_told_with_what_to_install() {
        let (output, kept) = run("2.2", 3, 0, 0, &[]);
        assert_eq!((output.status.code(), kept.as_str()), (Some(3), ""));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("Vulkan"), "{said}");
    }

    #[test]
    fn an_older_glibc_is_told_before_anything_runs() {
        let (output, kept) = run("2.999", 0, 0, 0, &[]);
        assert_eq!((output.status.code(), kept.as_str()), (Some(4), ""));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("need glibc 2.999 or newer"), "{said}");
    }

    #[test]
    fn help_runs_nothing() {
        let (output, kept) = run("2.2", 0, 1, 1, &["--quick", "--help"]);
        assert_eq!((output.status.code(), kept.as_str()), (Some(0), ""));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with("usage: ./run.sh"), "{said}");
        assert!(said.lines().count() > 5 && said.lines().all(|line| line.len() < 100), "{said}");
    }

    #[test]
    fn every_blank_is_filled_in() {
        let ws = Workspace::find().unwrap();
        let floor = glibc::floor(&fs::read(std::env::current_exe().unwrap()).unwrap()).unwrap();
        for item in texts(&ws, floor).unwrap() {
            if item.name != "THIRD-PARTY.txt" {
                let text = String::from_utf8(item.bytes).unwrap();
                assert!(!text.contains("@GLIBC@") && !text.contains("@VERSION@"), "{}", item.name);
            }
        }
        assert!(README.contains("@GLIBC@") && README.contains("@VERSION@"));
        assert!(RUN.contains("glibc_needed='@GLIBC@'"));
    }
}
