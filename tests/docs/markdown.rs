//! The blocks, links and headings of a page.

use std::collections::BTreeSet;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The treatment of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Redis,
    Python,
    Sh,
    Conf,
    Output,
    /// Not run, for the reason that the page gives.
    NotRun,
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    pub kind: Kind,
    pub text: String,
    /// The line of its fence.
    pub line: usize,
}

/// Returns all code blocks in order, or a message about the first that names no kind.
pub fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (event, range) in Parser::new_ext(page, Options::ENABLE_TABLES).into_offset_iter() {
        let line = page[..range.start].lines().count() + 1;
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                let kind = kind(&info).map_err(|wrong| format!("the block of line {line}: {wrong}"))?;
                open = Some(Block { kind, text: String::new(), line });
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => {
                return Err(format!("line {line}: an indented block, which cannot say what it is"));
            }
            Event::Text(text) => {
                if let Some(block) = &mut open {
                    block.text.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            _ => {}
        }
    }
    Ok(blocks)
}

fn kind(info: &str) -> Result<Kind, String> {
    let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
    if let Some(reason) = rest.trim().strip_prefix("not run:") {
        let told = !language.is_empty() && !reason.trim().is_empty();
        return if told { Ok(Kind::NotRun) } else { Err(format!("`{info}` does not say why")) };
    }
    match (language, rest) {
        ("redis", "") => Ok(Kind::Redis),
        ("python", "") => Ok(Kind::Python),
        ("sh", "") => Ok(Kind::Sh),
        ("conf", "") => Ok(Kind::Conf),
        ("output", "") => Ok(Kind::Output),
        _ => Err(format!(
            "`{info}` is none of redis, python, sh, conf and output, and does not say `not run: why` \
             (tests/docs.rs tells how the pages are tested)"
        )),
    }
}

/// The targets of its links.
pub fn links(page: &str) -> Vec<String> {
    let link = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some(dest_url.into_string())
        }
        _ => None,
    };
    Parser::new_ext(page, Options::ENABLE_TABLES).filter_map(link).collect()
}

/// Its headings, as links name them.
pub fn headings(page: &str) -> BTreeSet<String> {
    let mut headings = BTreeSet::new();
    let mut open: Option<String> = None;
    for event in Parser::new_ext(page, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => open = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut open {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => headings.extend(open.take().map(|heading| anchor(&heading))),
            _ => {}
        }
    }
    headings
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn a_block_names_its_runner_or_gives_a_reason_for_none() {
    let page = "a\n\n```redis\n> PING\nPONG\n```\n\n```sh not run: no such tool\nx\n```\n";
    let blocks = blocks(page).expect("blocks");
    let told: Vec<_> =
        blocks.iter().map(|block| (block.kind.clone(), block.text.as_str(), block.line)).collect();
    assert_eq!(told, [(Kind::Redis, "> PING\nPONG\n", 3), (Kind::NotRun, "x\n", 8)]);
    for unclear in ["```\nx\n```", "```yaml\nx\n```", "```sh not run:\nx\n```", "text\n\n    x\n"] {
        assert!(super::markdown::blocks(unclear).is_err(), "{unclear:?}");
    }
}

#[test]
fn headings_are_named_as_links_name_them() {
    let page = "# Tiers, and `keys`\n\n## A second one\n";
    assert_eq!(headings(page), BTreeSet::from(["tiers-and-keys".to_owned(), "a-second-one".to_owned()]));
}
