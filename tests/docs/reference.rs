//! The pages of docs/reference, compared with a running server, and the links of all pages.
//!
//! A page is read through its tables: the names stand in the first column, in backquotes. A command, setting, counter,
//! event or error that a page lacks, or has too many, fails the test with its name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use redis::{Connection, Value};
use regex::Regex;

use super::python::INTERPRETER;
use super::{markdown, root};
use testkit::{Server, cmd, info, map_of, text};

type Row = Vec<String>;

fn page(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of the section with this heading (`## Name`), down to the next heading of its level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no section {heading:?}"));
    let body = &page[start + heading.len()..];
    body.find("\n## ").map_or(body, |end| &body[..end])
}

/// The rows of all tables in a text, as trimmed cells, without heads.
fn rows(text: &str) -> Vec<Row> {
    let cells = |line: &str| -> Option<Row> {
        let line = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
        Some(line.split('|').map(|cell| cell.trim().to_owned()).collect())
    };
    let mut rows = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_head = lines.peek().is_some_and(|next| next.starts_with("| ---"));
        if is_head {
            lines.next();
        } else {
            rows.extend(cells(line));
        }
    }
    rows
}

/// The texts in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    let quoted = Regex::new("`([^`]+)`").expect("a pattern");
    quoted.captures_iter(cell).map(|found| found[1].to_owned()).collect()
}

/// The names in the first column of a text's tables. A name that stands twice fails.
#[track_caller]
fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for row in rows(text) {
        let [name] = quoted(&row[0]).try_into().unwrap_or_else(|_| panic!("not one name in {row:?}"));
        assert!(names.insert(name.clone()), "{name} stands twice");
    }
    names
}

#[track_caller]
fn assert_same(what: &str, page: &BTreeSet<String>, server: &BTreeSet<String>) {
    let missing: Vec<_> = server.difference(page).collect();
    let extra: Vec<_> = page.difference(server).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{what}: the page lacks {missing:?} and has {extra:?} too many"
    );
}

fn words(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(items) | Value::Set(items) => items.iter().map(text).collect(),
        other => panic!("expected an array, got {other:?}"),
    }
}

fn fields(con: &mut Connection, command: &[&str]) -> BTreeSet<String> {
    map_of(cmd(con, command).expect("a map")).into_keys().collect()
}

/// The facts of COMMAND INFO and COMMAND DOCS about a command.
struct Told {
    arity: i64,
    flags: BTreeSet<String>,
    tips: BTreeSet<String>,
    /// The `O(N)` of its complexity.
    complexity: String,
    /// The names of its options.
    options: BTreeSet<String>,
}

fn told(con: &mut Connection, name: &str) -> Told {
    let info = match cmd(con, &["COMMAND", "INFO", name]).expect("COMMAND INFO") {
        Value::Array(mut commands) => match commands.pop() {
            Some(Value::Array(fields)) => fields,
            other => panic!("COMMAND INFO {name}: {other:?}"),
        },
        other => panic!("COMMAND INFO {name}: {other:?}"),
    };
    let mut flags = words(&info[2]);
    // `movablekeys` depends on the server's version.
    flags.retain(|flag| flag != "module" && flag != "movablekeys");
    let Value::Int(arity) = info[1] else { panic!("COMMAND INFO {name}: {info:?}") };
    let mut docs = map_of(cmd(con, &["COMMAND", "DOCS", name]).expect("COMMAND DOCS"));
    let docs = map_of(docs.remove(name).expect("its documentation"));
    let complexity = text(&docs["complexity"]);
    let complexity = complexity[..=complexity.find(')').expect("an O(...)")].to_owned();
    let mut options = BTreeSet::new();
    collect_tokens(docs.get("arguments"), &mut options);
    Told { arity, flags, tips: words(&info[7]), complexity, options }
}

/// Adds the upper-case tokens of an argument list: options, and not tiers.
fn collect_tokens(arguments: Option<&Value>, options: &mut BTreeSet<String>) {
    let Some(Value::Array(arguments)) = arguments else { return };
    for argument in arguments {
        let argument = map_of(argument.clone());
        options.extend(argument.get("token").map(text).filter(|token| is_option(token)));
        collect_tokens(argument.get("arguments"), options);
    }
}

fn is_option(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase())
}

/// The least number of arguments of a syntax line, as COMMAND INFO has it: negative where more may follow.
fn arity_of(syntax: &str) -> i64 {
    let (mut needed, mut depth) = (0, 0);
    for word in syntax.split_whitespace() {
        let outside = depth == 0;
        depth += word.matches('[').count() as i64 - word.matches(']').count() as i64;
        needed += i64::from(outside && !word.starts_with('['));
    }
    if syntax.contains('[') { -needed } else { needed }
}

#[test]
fn commands_are_those_of_the_server() {
    let server = Server::start();
    let mut con = server.connect();
    let page = page("docs/reference/commands.md");
    let heading = Regex::new(r"(?m)^## (CHATCACHE\.[A-Z]+)$").expect("a pattern");
    let described: BTreeSet<String> = heading.captures_iter(&page).map(|found| found[1].to_owned()).collect();
    let listed =
        cmd(&mut con, &["COMMAND", "LIST", "FILTERBY", "MODULE", "chatcache"]).expect("COMMAND LIST");
    let listed: BTreeSet<String> = words(&listed).iter().map(|name| name.to_uppercase()).collect();
    assert_same("commands", &described, &listed);

    let Value::Array(help) = cmd(&mut con, &["CHATCACHE.HELP"]).expect("HELP") else { panic!("HELP") };
    let of_line = |line: String| {
        let first = line.split_whitespace().next()?.to_owned();
        (is_option(&first) && !line.starts_with(' ')).then(|| format!("CHATCACHE.{first}"))
    };
    // The commands come before the notes on tiers and keys.
    let commands = help.iter().map(text).take_while(|line| !line.starts_with("Tiers"));
    let helped = commands.filter_map(of_line).collect();
    assert_same("commands of HELP", &described, &helped);

    for name in &described {
        let about = section(&page, &format!("## {name}"));
        let syntax = quoted(about).remove(0);
        assert!(syntax.starts_with(name.as_str()), "{name}: the syntax is {syntax:?}");
        let table: BTreeMap<String, String> = rows(about)
            .into_iter()
            .map(|row| (row[0].clone(), row.get(1).cloned().unwrap_or_default()))
            .collect();
        let entry = |key: &str| table.get(key).cloned().unwrap_or_else(|| panic!("{name} has no row {key}"));
        let told = told(&mut con, &name.to_lowercase());
        let options = syntax.split(|c: char| !c.is_alphanumeric()).skip(2).filter(|word| is_option(word));
        assert_same(&format!("options of {name}"), &options.map(str::to_owned).collect(), &told.options);
        assert_eq!(entry("arity"), told.arity.to_string(), "the arity of {name}");
        assert_eq!(arity_of(&syntax), told.arity, "the arity of {name} by its syntax");
        assert_same(&format!("flags of {name}"), &quoted(&entry("flags")).into_iter().collect(), &told.flags);
        assert_same(&format!("tips of {name}"), &quoted(&entry("tips")).into_iter().collect(), &told.tips);
        assert!(
            entry("complexity").starts_with(&told.complexity),
            "the complexity of {name}: {}",
            told.complexity
        );
        assert!(
            table.contains_key("reply") && table.contains_key("errors") && table.contains_key("ACL"),
            "{name}"
        );
    }

    let linked = quoted_links(&std::fs::read_to_string(root().join("README.md")).expect("read README.md"));
    assert_same("commands of README.md", &linked, &described);
}

/// The commands that a page links to.
fn quoted_links(page: &str) -> BTreeSet<String> {
    let link = Regex::new(r"\[(CHATCACHE\.[A-Z]+)\]\(").expect("a pattern");
    link.captures_iter(page).map(|found| found[1].to_owned()).collect()
}

#[test]
fn settings_have_the_names_defaults_and_ranges_of_the_server() {
    let server = Server::start();
    let mut con = server.connect();
    let page = page("docs/reference/settings.md");
    let before = map_of(cmd(&mut con, &["CONFIG", "GET", "chatcache.*"]).expect("CONFIG GET"));
    assert_same("settings", &names(&page), &before.keys().cloned().collect());

    for row in rows(&page) {
        let [name, default, range, _, _] = row.try_into().expect("five columns");
        let name = quoted(&name).remove(0);
        let mut set = |value: &str| cmd(&mut con, &["CONFIG", "SET", &name, value]);
        let (ends, beyond): (Vec<String>, Vec<String>) = match range.split_once(" to ") {
            Some((min, max)) => {
                let [min, max] = [min, max].map(|end| end.parse::<i64>().expect("a number"));
                (vec![min.to_string(), max.to_string()], vec![(min - 1).to_string(), (max + 1).to_string()])
            }
            None => (range.split(", ").map(str::to_owned).collect(), vec!["other".to_owned()]),
        };
        for value in ends {
            set(&value).unwrap_or_else(|error| panic!("{name} {value} is in the range: {error}"));
        }
        for value in beyond {
            assert!(set(&value).is_err(), "{name} {value} is not in the range {range}");
        }
        set(&default).unwrap_or_else(|error| panic!("the default {default} of {name}: {error}"));
        let now = map_of(cmd(&mut con, &["CONFIG", "GET", &name]).expect("CONFIG GET"));
        assert_eq!(text(&now[&name]), text(&before[&name]), "the default of {name}");
    }
}

#[test]
fn counters_and_fields_are_those_of_the_server() {
    let server = Server::start();
    let mut con = server.connect();
    cmd(&mut con, &["CHATCACHE.SET", "msg", "ann", "helper", "hi", "hello"]).expect("SET");
    let page = page("docs/reference/counters.md");

    let of_server = names(section(&page, "## Counters of the server"));
    assert_same("counters", &of_server, &fields(&mut con, &["CHATCACHE.STATS"]));
    let in_info = info(&mut con, "chatcache").into_keys().map(|name| match name.strip_prefix("chatcache_") {
        Some(name) => name.replace('_', "-"),
        None => panic!("INFO chatcache has {name}"),
    });
    let in_info: BTreeSet<String> = in_info.collect();
    assert_same("counters of INFO", &of_server, &in_info);

    let of_persona = names(section(&page, "## Counters of a persona"));
    assert_same("counters of a persona", &of_persona, &fields(&mut con, &["CHATCACHE.STATS", "helper"]));

    let Ok(Value::Array(reply)) = cmd(&mut con, &["CHATCACHE.PERSONAS"]) else { panic!("PERSONAS") };
    let Some(Value::Array(personas)) = reply.get(1) else { panic!("PERSONAS: {reply:?}") };
    let fields_of_personas = map_of(personas[0].clone()).into_keys().collect();
    assert_same("fields of PERSONAS", &names(section(&page, "## Fields of PERSONAS")), &fields_of_personas);

    let inspected = fields(&mut con, &["CHATCACHE.INSPECT", "msg", "ann", "helper", "hi"]);
    assert_same("fields of INSPECT", &names(section(&page, "## Fields of INSPECT")), &inspected);
}

#[test]
fn kinds_of_counters_are_those_of_the_exporter() {
    let page = page("docs/reference/counters.md");
    let kinds: BTreeSet<String> = rows(section(&page, "## Counters of the server"))
        .iter()
        .map(|row| format!("{} {}", quoted(&row[0]).remove(0), row[1]))
        .collect();
    let script = "import sys; from chatcache.prometheus import ServerCollector\n\
                  for name in sys.argv[1:]:\n\
                  \x20   print(name, [m.type for m in ServerCollector({name: 1}, {}).collect() if m.name != 'chatcache_up'][0])";
    let output = Command::new(INTERPRETER.as_str())
        .args(["-c", script])
        .args(names(section(&page, "## Counters of the server")))
        .current_dir(root().join("clients/python/src"))
        .output()
        .expect("start Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let exported = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    assert_same("kinds of counters", &kinds, &exported);
}

#[test]
fn notifications_are_those_of_the_server() {
    let server = Server::start();
    let mut con = server.connect();
    cmd(&mut con, &["CONFIG", "SET", "notify-keyspace-events", "EA"]).expect("CONFIG SET");
    let mut listener = server.connect();
    let mut events = listener.as_pubsub();
    events.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    events.psubscribe("__keyevent@0__:*").expect("PSUBSCRIBE");
    let request = ["msg", "ann", "helper", "hi"];
    let mut send = |command: &str, more: &[&str]| {
        cmd(&mut con, &[&[command], &request[..], more].concat()).expect(command);
    };
    send("CHATCACHE.SET", &["hello"]);
    send("CHATCACHE.DEL", &[]);
    send("CHATCACHE.FETCH", &[]);
    cmd(&mut con, &["CHATCACHE.SOFTINVALIDATE", "helper"]).expect("SOFTINVALIDATE");
    cmd(&mut con, &["CHATCACHE.INVALIDATE", "helper"]).expect("INVALIDATE");
    cmd(&mut con, &["CHATCACHE.FORGET", "ann"]).expect("FORGET");
    cmd(&mut con, &["CHATCACHE.FLUSH"]).expect("FLUSH");
    cmd(&mut con, &["SET", "the", "end"]).expect("SET");

    let mut sent = BTreeSet::new();
    loop {
        let event = events.get_message().expect("an event");
        let key: String = event.get_payload().expect("a key");
        let (_, name) = event.get_channel_name().split_once(':').expect("a channel");
        if key == "the" {
            break;
        }
        sent.insert(name.to_owned());
    }
    // A server before 7.1 has no event `new`, which is its own.
    sent.remove("new");
    let page = page("docs/reference/counters.md");
    assert_same("events", &names(section(&page, "## Keyspace notifications")), &sent);
}

/// The page has the texts of `CommandError::message`, with `<...>` for each `{...}`.
#[test]
fn errors_are_those_of_the_source() {
    let source = page("src/request/error.rs");
    let start = source.find("fn message(").expect("the function that words errors");
    let end = source[start..].find("\n    }\n").expect("its end") + start;
    let literal = Regex::new(r#""((?:[^"\\]|\\.|\\\n)*)""#).expect("a pattern");
    let (wrapped, inserted) =
        (Regex::new(r"\\\n\s*").expect("a pattern"), Regex::new(r"\{[^}]*\}").expect("a pattern"));
    let placeholder = Regex::new("<[^>]*>").expect("a pattern");
    let in_source: BTreeSet<String> = literal
        .captures_iter(&source[start..end])
        .map(|found| inserted.replace_all(&wrapped.replace_all(&found[1], ""), "<...>").into_owned())
        .collect();
    let page = page("docs/reference/errors.md");
    let on_page = names(section(&page, "## Errors of the module"));
    let on_page = on_page.iter().map(|error| placeholder.replace_all(error, "<...>").into_owned()).collect();
    assert_same("errors", &on_page, &in_source);
}

/// The Markdown files of a folder and the folders in it, by their paths from the repository's root.
pub fn markdown_files(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(root().join(folder)).expect("read a folder") {
        let file = file.expect("read a folder");
        let path = format!("{folder}/{}", file.file_name().into_string().expect("a name in UTF-8"));
        if file.file_type().expect("its type").is_dir() {
            found.extend(markdown_files(&path));
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "md") {
            found.insert(path);
        }
    }
    found
}

/// A source file that the pages for developers name exists, from src/ or from the repository's root.
#[test]
fn files_named_by_the_developer_pages_exist() {
    for path in markdown_files("docs/dev") {
        let files =
            quoted(&page(&path)).into_iter().filter(|name| name.ends_with(".rs") && !name.contains(' '));
        for file in files {
            let exists = root().join("src").join(&file).exists() || root().join(&file).exists();
            assert!(exists, "{path} names {file}, which does not exist");
        }
    }
}

/// Each link leads to a file of the repository, and its fragment to a heading.
#[test]
fn no_link_is_broken() {
    let mut pages = markdown_files("docs");
    for page in [
        "README.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "examples/chat_service/README.md",
        "tests/clients/README.md",
    ] {
        pages.insert(page.to_owned());
    }
    for page in pages {
        let path = root().join(&page);
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
            assert!(target.exists(), "{page} links to {link}, which does not exist");
            if !heading.is_empty() {
                let there = std::fs::read_to_string(&target).expect("read the page that is linked to");
                let headings = markdown::headings(&there);
                assert!(headings.contains(heading), "{page} links to {link}, among {headings:?}");
            }
        }
    }
}
