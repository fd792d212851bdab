//! Every code block of README.md and docs/ is run as a reader would run it.
//!
//! A page gets one server, and its blocks run in their order, so that a page is a story. The
//! first word after its fence selects the runner of a block:
//!
//! - `redis`: a session of redis-cli. Lines with a prompt (`> `, `127.0.0.1:6379> `, `ann> `) are commands; the
//!   lines that follow are the output of redis-cli. Each prompt's name is a connection of its own for the whole page; a line
//!   `$ redis-cli -3` opens it anew, with those options.
//! - `python`: run with redis-py; all such blocks of a page are one program.
//! - `sh`: run with bash from the repository's root.
//! - `conf`: lines of redis.conf: a server starts with them.
//! - `output`: the output of the block before it.
//! - `text`: nothing to run. Like a block of any other kind that cannot be run here, it says why: `sh not run: it
//!   installs packages`.
//!
//! In expected output, `...` stands for any text (alone on a line, for any lines), and `<name>` for a text without
//! quotes that later commands of the page name as `<name>`. Port 6379 stands for the page's server, and
//! `/path/to/libchatcache.so` for the module.

mod dashboard;
mod expected;
mod markdown;
mod page;
mod pools;
mod python;
mod redis_cli;
mod reference;

use std::path::PathBuf;

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
    benchmarks "docs/benchmarks.md"
    dev_architecture "docs/dev/architecture.md"
    dev_performance "docs/dev/performance.md"
    dev_style "docs/dev/style.md"
    dev_structures "docs/dev/structures.md"
    dev_testing "docs/dev/testing.md"
    guide_alternatives "docs/guide/alternatives.md"
    guide_clients "docs/guide/clients.md"
    guide_invalidating "docs/guide/invalidating.md"
    guide_migration "docs/guide/migration.md"
    guide_single_flight "docs/guide/single-flight.md"
    guide_tiers_and_keys "docs/guide/tiers-and-keys.md"
    operate_acl "docs/operate/acl.md"
    operate_cluster "docs/operate/cluster.md"
    operate_compatibility "docs/operate/compatibility.md"
    operate_operations "docs/operate/operations.md"
    operate_security "docs/operate/security.md"
    reference_commands "docs/reference/commands.md"
    reference_counters "docs/reference/counters.md"
    reference_errors "docs/reference/errors.md"
    reference_limits "docs/reference/limits.md"
    reference_settings "docs/reference/settings.md"
}

/// The repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn no_page_is_forgotten() {
    let mut found = reference::markdown_files("docs");
    found.insert("README.md".to_owned());
    let tested = PAGES.iter().map(|page| (*page).to_owned()).collect();
    assert_eq!(found, tested, "the pages that exist, and the pages that are tested");
}

/// The guide shows the loop of the example.
#[test]
fn the_loop_is_the_same_in_the_guide_and_the_example() {
    let loop_of = |path: &str| {
        let text = std::fs::read_to_string(root().join(path)).expect("read the file");
        let from = text.find("def respond(user, persona, message):\n    \"\"\"").expect("the loop");
        let end = text[from..].find("        raise\n").expect("the end of the loop");
        text[from..from + end].to_owned()
    };
    assert_eq!(loop_of("docs/guide/single-flight.md"), loop_of("examples/single_flight.py"));
}
