//! What every program promises on its command line: help, version, statuses, and a man page that knows
//! each of its options. The programs are those that `Cargo.toml` lists, so a new one is held to it too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;

const LONGEST_HELP: usize = 60;
const WIDEST_HELP: usize = 100;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names in the `[[bin]]` sections.
fn programs() -> Vec<String> {
    let manifest: toml::Table = fs::read_to_string(project().join("Cargo.toml")).unwrap().parse().unwrap();
    let programs: Vec<_> = manifest["bin"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bin| bin["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(programs.len() >= 8, "{programs:?}");
    programs
}

/// Cargo puts all programs beside this one.
fn path_of(program: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_byteback-receive")).with_file_name(program)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(path_of(program)).args(arguments).env_clear().output().unwrap()
}

fn help(program: &str) -> String {
    let output = run(program, &["--help"]);
    assert!(output.status.success(), "{program} --help: {}", output.status);
    assert!(output.stderr.is_empty(), "{program} --help talks on stderr");
    String::from_utf8(output.stdout).unwrap()
}

/// Every `--word` in a text; roff's `\-` is a hyphen, and mdoc's `Fl Fl` are the two before a word.
fn long_options(text: &str) -> BTreeSet<String> {
    let plain = text.replace("\\-", "-").replace("Fl Fl ", "--");
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    plain
        .split(|c| !is_part(c))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(|word| word.trim_end_matches('-').to_owned())
        .collect()
}

fn man_page(program: &str) -> Option<String> {
    let pages = ["8", "1"].map(|section| project().join("man").join(format!("{program}.{section}")));
    pages.iter().find_map(|page| fs::read_to_string(page).ok())
}

#[test]
fn help_fits_a_screen_and_names_itself() {
    for program in programs() {
        let help = help(&program);
        let lines = help.lines().count();
        assert!((3..=LONGEST_HELP).contains(&lines), "{program} --help has {lines} lines");
        for line in help.lines() {
            assert!(line.chars().count() <= WIDEST_HELP, "{program} --help is too wide: {line}");
        }
        assert!(help.contains(&format!("Usage: {program}")), "{program} --help shows no usage");
    }
}

#[test]
fn version_is_that_of_the_package() {
    for program in programs() {
        let output = run(&program, &["--version"]);
        assert!(output.status.success(), "{program} --version: {}", output.status);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, format!("{program} {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn an_unknown_option_is_misuse_and_is_named() {
    for program in programs() {
        let output = run(&program, &["--no-such-option"]);
        assert_eq!(output.status.code(), Some(2), "{program}");
        assert!(output.stdout.is_empty(), "{program} prints a result");
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(talk.contains("--no-such-option"), "{program}: {talk}");
    }
}

#[test]
fn every_option_stands_in_the_man_page() {
    for program in programs() {
        let Some(page) = man_page(&program) else { panic!("{program} has no page in man/") };
        let missing: Vec<_> =
            long_options(&help(&program)).difference(&long_options(&page)).cloned().collect();
        assert!(missing.is_empty(), "man/{program} does not tell of {missing:?}");
    }
}

#[test]
fn every_option_of_a_sub_command_stands_in_the_man_page_and_its_help_fits_a_screen() {
    let overview = help("byteback-admin");
    let listed =
        overview.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let names: Vec<_> = names.collect();
    assert!(names.contains(&"check"), "{overview}");
    for sub_command in names {
        let output = run("byteback-admin", &[sub_command, "--help"]);
        assert!(output.status.success(), "{sub_command} --help: {}", output.status);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.lines().count() <= LONGEST_HELP, "{sub_command} --help is too long");
        assert!(help.lines().all(|line| line.chars().count() <= WIDEST_HELP), "{help}");
        let page = man_page("byteback-admin").unwrap();
        let missing: Vec<_> = long_options(&help).difference(&long_options(&page)).cloned().collect();
        assert!(missing.is_empty(), "man/byteback-admin.8 does not tell of {missing:?}");
    }
}

#[test]
fn options_are_found_in_help_and_in_roff() {
    let help = "  -x, --exclude <PATH>  as in --excludes=FILE, not well-known or a -- alone";
    let roff = ".BR \\-x \", \" \\-\\-exclude = \\fIPATH\\fR\n.B \\-\\-excludes\\fR=x --io\\-timeout\n.It Fl n , Fl Fl dry-run Ar DIR";
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(long_options(help), set(&["--exclude", "--excludes"]));
    assert_eq!(long_options(roff), set(&["--dry-run", "--exclude", "--excludes", "--io-timeout"]));
}
