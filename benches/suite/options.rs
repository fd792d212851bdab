//! The options of the command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::PARTS;

pub struct Options {
    /// Names of parts; none stands for all.
    only: Vec<String>,
    pub quick: bool,
    pub data: Option<PathBuf>,
}

impl Options {
    pub fn parse() -> Result<Options, String> {
        let mut options = Options { only: Vec::new(), quick: false, data: None };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                // Added by `cargo bench`.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--only" => {
                    let parts = words.next().unwrap_or_default();
                    options.only.extend(parts.split(',').map(str::to_owned));
                }
                "--data" => options.data = Some(words.next().ok_or("--data wants a file")?.into()),
                _ => return Err(format!("{word} is none of --quick, --only PART[,PART...], --data FILE")),
            }
        }
        let names = PARTS.map(|(name, _)| name);
        match options.only.iter().find(|part| !names.contains(&part.as_str())) {
            Some(part) => Err(format!("--only {part:?}: the parts are {}", names.join(", "))),
            None => Ok(options),
        }
    }

    pub fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }

    /// Number of rounds.
    pub fn rounds(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// Time of one load in one round.
    pub fn time(&self) -> Duration {
        Duration::from_millis(if self.quick { 250 } else { 1_000 })
    }

    /// Time after a load in which the server puts its memory in order.
    pub fn rest(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 60 })
    }

    /// A number of responses, a hundredth of it in a quick run.
    pub fn count(&self, count: u64) -> u64 {
        if self.quick { (count / 100).max(2_000) } else { count }
    }
}
