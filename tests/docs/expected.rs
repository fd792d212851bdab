//! The expected output on a page, with its placeholders: `...` and `<name>`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// `<name>`, and `...`, alone on its line or not.
static PLACEHOLDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^\.\.\.\n|\.\.\.|<[a-z]+>").expect("a pattern"));

/// The names that the page has defined so far.
#[derive(Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// A command with the values of the names in it.
    pub fn fill(&self, command: &str) -> String {
        let value = |found: &Captures<'_>| match self.0.get(&found[0]) {
            Some(value) => value.clone(),
            None => found[0].to_owned(),
        };
        PLACEHOLDER.replace_all(command, value).into_owned()
    }

    /// Returns true if the output is as expected; then the names in it have values.
    pub fn agree(&mut self, expected: &str, actual: &str) -> bool {
        let expected = tidy(expected);
        let mut pattern = String::from(r"\A");
        let mut new = Vec::new();
        let mut done = 0;
        for found in PLACEHOLDER.find_iter(&expected) {
            pattern += &regex::escape(&expected[done..found.start()]);
            done = found.end();
            match found.as_str() {
                "...\n" => pattern += r"(?:.*\n)*?",
                "..." => pattern += r".*?",
                name => match self.0.get(name) {
                    Some(value) => pattern += &regex::escape(value),
                    None => {
                        new.push(name.to_owned());
                        pattern += r#"([^"\n]+?)"#;
                    }
                },
            }
        }
        pattern += &regex::escape(&expected[done..]);
        pattern += r"\z";
        let pattern = Regex::new(&pattern).expect("a pattern made of escaped text");
        let Some(found) = pattern.captures(&tidy(actual)).map(|found| {
            found.iter().skip(1).flatten().map(|value| value.as_str().to_owned()).collect::<Vec<_>>()
        }) else {
            return false;
        };
        self.0.extend(new.into_iter().zip(found));
        true
    }
}

/// Lines without blanks at their ends, and none that are empty at the end.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

#[test]
fn expected_output_is_compared_to_the_letter() {
    let mut names = Names::default();
    assert!(names.agree("1) \"a.c\"\n", "1) \"a.c\"  \n"));
    assert!(!names.agree("1) \"a.c\"\n", "1) \"abc\"\n"));
    assert!(!names.agree("a\n", "a\nb\n"));
    assert!(!names.agree("a\n", "b\na\n"));
    assert!(!names.agree("", "a\n"));
}

#[test]
fn dots_stand_for_anything_and_lines_of_dots_for_lines() {
    let mut names = Names::default();
    assert!(names.agree("age ... ms", "age 17 ms"));
    assert!(!names.agree("age ... ms", "age 17 s"));
    assert!(names.agree("first\n...\nlast", "first\nlast"));
    assert!(names.agree("first\n...\nlast", "first\na\nb\nlast"));
    assert!(names.agree("first\n...", "first\na\nb"));
    assert!(!names.agree("first\n...\nlast", "first\na"));
}

#[test]
fn a_name_keeps_its_value() {
    let mut names = Names::default();
    assert!(names.agree("1) \"lease\"\n2) \"<token>\"", "1) \"lease\"\n2) \"00ff\""));
    assert_eq!(names.fill("SET x TOKEN <token> <other>"), "SET x TOKEN 00ff <other>");
    assert!(names.agree("\"<token>\"", "\"00ff\""));
    assert!(!names.agree("\"<token>\"", "\"abcd\""));
}
