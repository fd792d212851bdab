//! Every code block of README.md and docs/ is run as a reader would run it.
//!
//! A page gets one server, and its blocks run in their order, so that a page is a story. The
//! first word after its fence selects the runner of a block:
//!
//! - `redis`: a session of redis-cli. Lines with a prompt (`> `, `127.0.0.1:6379> `, `ann> `) are commands; what
//!   follows is what redis-cli prints. Each prompt's name is a connection of its own for the whole page; a line
//!   `$ redis-cli -3` opens it anew, with those options.
//! - `python`: run with redis-py; all such blocks of a page are one program.
//! - `sh`: run with bash from the repository's root.
//! - `conf`: lines of redis.conf: a server starts with them.
//! - `output`: what the block before it has printed.
//! - `text`: nothing to run. Like a block of any other kind that cannot be run here, it says why: `sh not run: it
//!   installs packages`.
//!
//! In what is expected, `...` stands for any text (alone on a line, for any lines), and `<name>` for a text without
//! quotes that later commands of the page name as `<name>`. Port 6379 stands for the page's server, and
//! `/path/to/libchatcache.so` for the module.

mod dashboard;
mod expected;
mod markdown;
mod page;
mod python;
mod redis_cli;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

macro_rules! pages {
    ($($test:ident $path:literal)*) => {
        const PAGES: &[&str] = &[$($path),*];
        $(
            #[test]
            fn $test() {
                page::run(&root().join($path));
            }
        )*
    };
}

pages! {
    readme "README.md"
    architecture "docs/architecture.md"
    invalidation "docs/invalidation.md"
    migration "docs/migration.md"
    operations "docs/operations.md"
    single_flight "docs/single-flight.md"
    tiers_and_keys "docs/tiers-and-keys.md"
}

/// The repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn no_page_is_forgotten() {
    let mut found = BTreeSet::from(["README.md".to_owned()]);
    for file in std::fs::read_dir(root().join("docs")).expect("read docs/") {
        let name = file.expect("read docs/").file_name().into_string().expect("a name in UTF-8");
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            found.insert(format!("docs/{name}"));
        }
    }
    let tested = PAGES.iter().map(|page| (*page).to_owned()).collect();
    assert_eq!(found, tested, "the pages there are, and the pages that are tested");
}

/// The loop stands where it is looked for; it is run on its own page and in the example.
#[test]
fn the_loop_is_the_same_everywhere() {
    let loop_of = |path: &str| {
        let text = std::fs::read_to_string(root().join(path)).expect("read the file");
        let from = text.find("def answer(user, persona, message):\n    \"\"\"").expect("the loop");
        let end = text[from..].find("        raise\n").expect("the end of the loop");
        text[from..from + end].to_owned()
    };
    let of_example = loop_of("examples/single_flight.py");
    assert_eq!(loop_of("README.md"), of_example);
    assert_eq!(loop_of("docs/single-flight.md"), of_example);
}

/// Links between the pages and to files of the repository lead somewhere.
#[test]
fn no_link_is_broken() {
    for page in PAGES {
        let path = root().join(page);
        let text = std::fs::read_to_string(&path).expect("read the page");
        for link in markdown::links(&text) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => path.clone(),
                _ => path.parent().expect("a directory").join(file),
            };
            assert!(target.exists(), "{page} links to {link}, which is not there");
            if !heading.is_empty() {
                let there = std::fs::read_to_string(&target).expect("read what is linked to");
                let headings = markdown::headings(&there);
                assert!(headings.contains(heading), "{page} links to {link}, among {headings:?}");
            }
        }
    }
}
