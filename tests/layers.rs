//! The rules of the house, checked by reading the sources: who may import whom, where `unsafe` may
//! stand, and how long a file may be (`src/lib.rs` tells the rules). Each rule is also shown a text that
//! breaks it, so that this test is known to be able to fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "layers/tokens.rs"]
mod tokens;

use tokens::{Token, tokens};

/// Each room and what it may import besides itself.
const ROOMS: [(&str, &[&str]); 8] = [
    ("model", &[]),
    ("protocol", &["model"]),
    ("policy", &["model"]),
    ("system", &["model", "protocol"]),
    ("store", &["model", "protocol", "policy", "system"]),
    ("journey", &["model", "protocol", "policy", "system", "store"]),
    ("cli", &["model", "system"]),
    ("bin", &["cli", "journey", "model", "store"]),
];

const UNSAFE_FILES: [&str; 2] = ["src/system/ioctl.rs", "src/system/fork.rs"];
const LONGEST_SOURCE: usize = 400;
const LONGEST_PROGRAM: usize = 80;

/// A source file: its path from the project's root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Its module path, such as `["protocol", "listing", "table"]`; for a program `["bin", NAME]`.
    fn module(&self) -> Vec<String> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix("/mod.rs").or(path.strip_suffix(".rs")).unwrap_or(path);
        path.split('/').map(str::to_owned).collect()
    }

    fn is_program(&self) -> bool {
        self.path.starts_with("bin/")
    }

    /// What this library is called in it.
    fn root_word(&self) -> &'static str {
        if self.is_program() { "byteback" } else { "crate" }
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![project().join("src"), project().join("bin")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(project()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 50, "the sources are not where this test looks for them");
    found
}

/// Every path that a source names, in `use` or elsewhere, with the module that it stands in.
fn paths(source: &Source) -> Vec<(Vec<String>, Vec<String>)> {
    let tokens = tokens(&source.text);
    let mut found = Vec::new();
    // Modules that are written out in the file, and how deep in braces each began.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let (mut at, mut depth) = (0, 0);
    while at < tokens.len() {
        let mut named = Vec::new();
        match &tokens[at..] {
            [Token::Word(word), Token::Word(name), Token::Sign('{'), ..] if word == "mod" => {
                inline.push((name.clone(), depth));
                at += 2;
                continue;
            }
            [Token::Word(word), ..] if word == "use" => at = flatten(&tokens, at + 1, &[], &mut named),
            [Token::Word(_), ..] => at = straight(&tokens, at, &mut named),
            [Token::Sign('{'), ..] => (at, depth) = (at + 1, depth + 1),
            [Token::Sign('}'), ..] => {
                (at, depth) = (at + 1, depth - 1);
                inline.pop_if(|(_, began)| *began == depth);
            }
            _ => at += 1,
        }
        let module = source.module().into_iter().chain(inline.iter().map(|(name, _)| name.clone()));
        let module: Vec<_> = module.collect();
        found.extend(named.into_iter().map(|path| (path, module.clone())));
    }
    found
}

/// `a::b::c` in an expression or a type; a word alone (`pub(crate)`) names nothing.
fn straight(tokens: &[Token], mut at: usize, found: &mut Vec<Vec<String>>) -> usize {
    let mut path = Vec::new();
    while let Some(Token::Word(word)) = tokens.get(at) {
        path.push(word.clone());
        at += 1;
        if tokens.get(at) != Some(&Token::Colons) {
            break;
        }
        at += 1;
    }
    if path.len() > 1 {
        found.push(path);
    }
    at
}

/// `a::{b, c::{self, *}}` behind `use`, one path for each leaf.
fn flatten(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(Token::Word(word)) if word == "as" => return at + 2,
            Some(Token::Word(word)) => path.push(word.clone()),
            Some(Token::Sign('*')) => path.push("*".to_owned()),
            Some(Token::Sign('{')) => {
                at += 1;
                while !matches!(tokens.get(at), None | Some(Token::Sign('}'))) {
                    at = flatten(tokens, at, &path, found);
                    at += usize::from(tokens.get(at) == Some(&Token::Sign(',')));
                }
                return at + 1;
            }
            Some(Token::Colons) => {}
            Some(Token::Sign(_)) | None => {
                found.push(path);
                return at;
            }
        }
        at += 1;
        if let Some(Token::Word(word)) = tokens.get(at)
            && word == "as"
        {
            found.push(path.clone());
        }
    }
}

/// The room that a path leads to: `*` for the whole library, `None` for another crate or a local name.
fn room(path: &[String], module: &[String], root_word: &str) -> Option<String> {
    let (first, mut rest) = path.split_first()?;
    let mut base = match first.as_str() {
        word if word == root_word => Vec::new(),
        "self" => module.to_vec(),
        "super" => module[..module.len().saturating_sub(1)].to_vec(),
        _ => return None,
    };
    while let Some((step, behind)) = rest.split_first() {
        match step.as_str() {
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = behind;
    }
    base.extend_from_slice(rest);
    Some(base.first().map_or("*", String::as_str).to_owned())
}

/// What a source imports against the rule, as `path/of/file.rs imports ROOM`.
fn forbidden_imports(source: &Source) -> Vec<String> {
    let own = source.module()[0].clone();
    if source.path == "src/lib.rs" {
        return Vec::new();
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == own) else {
        return vec![format!("{} is in no room", source.path)];
    };
    let rooms =
        paths(source).into_iter().filter_map(|(path, module)| room(&path, &module, source.root_word()));
    let forbidden: BTreeSet<_> =
        rooms.filter(|room| *room != own && !allowed.contains(&room.as_str())).collect();
    forbidden.into_iter().map(|room| format!("{} imports {room}", source.path)).collect()
}

fn stray_unsafe(source: &Source) -> bool {
    let is_unsafe =
        |token: &Token| matches!(token, Token::Word(word) if word == "unsafe" || word == "unsafe_code");
    !UNSAFE_FILES.contains(&source.path.as_str()) && tokens(&source.text).iter().any(is_unsafe)
}

fn is_too_long(source: &Source) -> bool {
    let longest = if source.is_program() { LONGEST_PROGRAM } else { LONGEST_SOURCE };
    source.text.lines().count() > longest
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn imports_point_one_way() {
    let broken: Vec<String> = sources().iter().flat_map(forbidden_imports).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn unsafe_stands_in_its_two_files_alone() {
    let broken: Vec<String> = sources().into_iter().filter(stray_unsafe).map(|source| source.path).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let broken: Vec<String> = sources().into_iter().filter(is_too_long).map(|source| source.path).collect();
    assert!(broken.is_empty(), "split by concept: {broken:#?}");
}

#[test]
fn every_spelling_of_a_forbidden_import_is_found() {
    for (path, text, room) in [
        ("src/model/x.rs", "use crate::system::clock;", "system"),
        ("src/model/x.rs", "pub(super) use crate::{model::Tree, policy::due::{self, Due}};", "policy"),
        ("src/policy/x.rs", "fn f() { let now = crate::system::clock::now(); }", "system"),
        ("src/policy/x.rs", "use super::super::store;", "store"),
        ("src/policy/x.rs", "use super::{super::{journey as j}, due};", "journey"),
        ("src/policy/mod.rs", "use super::protocol::lexer;", "protocol"),
        ("src/protocol/x/y.rs", "type T = super::super::super::system::lock::Lock;", "system"),
        ("src/protocol/x.rs", "mod tests { use super::*; use super::super::super::policy; }", "policy"),
        ("src/protocol/x.rs", "mod a { fn f() {} } use self::super::super::cli;", "cli"),
        ("src/system/x.rs", "/* a */ use /* b */ crate :: policy // c\n ;", "policy"),
        ("src/store/x.rs", "const A: &str = r#\"\"#; use crate::journey::backup;", "journey"),
        (
            "src/journey/x.rs",
            "fn f<'a>(c: char) { if c == '\"' || c == '\\x1b' || b'\\'' == 1 { crate::cli::run() } }",
            "cli",
        ),
        ("src/model/x.rs", "use crate::*;", "*"),
        ("src/model/x.rs", "use crate as all;", "*"),
        ("bin/x.rs", "use byteback::{cli, policy};", "policy"),
        ("bin/x.rs", "fn main() { byteback::system::console::say(1) }", "system"),
    ] {
        assert_eq!(forbidden_imports(&source(path, text)), [format!("{path} imports {room}")], "{text}");
    }
    assert_eq!(forbidden_imports(&source("src/util/x.rs", "")), ["src/util/x.rs is in no room"]);
}

#[test]
fn what_is_allowed_is_not_complained_of() {
    for (path, text) in [
        ("src/model/x.rs", "use super::Tree; mod tests { use super::*; mod a { use super::super::x; } }"),
        ("src/policy/x.rs", "// use crate::system;\n//! [`crate::journey`]\nuse crate::model::Tree;"),
        (
            "src/policy/x.rs",
            "const A: &str = \"use crate::system;\"; const B: &[u8] = br##\"\"# crate::store\"##;",
        ),
        (
            "src/policy/x.rs",
            "use policy::system; pub(crate) fn f() -> std::io::Result<()> { g::<super::x::Y>() }",
        ),
        ("src/journey/x.rs", "use crate::{model::{self, *}, store::Store, system::{clock, files as f}};"),
        ("bin/x.rs", "use byteback::cli; mod options { pub use crate::system::x; }"),
    ] {
        assert_eq!(forbidden_imports(&source(path, text)), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn stray_unsafe_and_long_files_are_found() {
    assert!(stray_unsafe(&source("src/system/lock.rs", "fn f() { unsafe { g() } }")));
    assert!(stray_unsafe(&source("src/system/lock.rs", "#![allow(unsafe_code)]")));
    assert!(!stray_unsafe(&source("src/system/lock.rs", "// unsafe\nconst A: &str = \"unsafe\";")));
    assert!(!stray_unsafe(&source("src/system/fork.rs", "unsafe {}")));
    assert!(is_too_long(&source("src/model/x.rs", &"\n".repeat(LONGEST_SOURCE + 1))));
    assert!(is_too_long(&source("bin/x.rs", &"\n".repeat(LONGEST_PROGRAM + 1))));
    assert!(!is_too_long(&source("src/model/x.rs", &"\n".repeat(LONGEST_SOURCE))));
}
