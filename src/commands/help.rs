//! HELP: the commands, as OBJECT HELP prints its own. The options in it come from the commands' grammars.

use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::grammar::{Grammar, Value, Word};
use crate::request::options;
use std::ffi::CString;

/// `CHATCACHE.HELP`
pub struct Help;

/// A command in HELP: its fixed arguments, its options, and one line on the reply.
struct Topic {
    usage: &'static str,
    options: Option<&'static Grammar>,
    text: &'static str,
}

const TOPICS: [Topic; 16] = [
    Topic {
        usage: "GET <tier> <user> <persona> <message>",
        options: Some(&options::GET),
        text: "Return the cached response, or null. The tier any looks in all tiers.",
    },
    Topic {
        usage: "SET <tier> <user> <persona> <message> <response>",
        options: Some(&options::SET),
        text: "Store a response, by default for the tier's TTL.",
    },
    Topic {
        usage: "FETCH <tier> <user> <persona> <message>",
        options: Some(&options::FETCH),
        text: "Return a response, or the lease to compute it, or wait for it.",
    },
    Topic {
        usage: "APPEND <tier> <user> <persona> <message> <piece>",
        options: Some(&options::APPEND),
        text: "Add a piece to the draft of a lease. Return the draft's length, or null.",
    },
    Topic {
        usage: "COMMIT <tier> <user> <persona> <message>",
        options: Some(&options::COMMIT),
        text: "Store the draft of a lease as the response.",
    },
    Topic {
        usage: "RELEASE <tier> <user> <persona> <message>",
        options: Some(&options::RELEASE),
        text: "Give a lease back. Return 1 or 0.",
    },
    Topic {
        usage: "DEL <tier> <user> <persona> <message>",
        options: Some(&options::DEL),
        text: "Delete a response. Return 1 or 0.",
    },
    Topic {
        usage: "INVALIDATE <persona> [<persona> ...]",
        options: None,
        text: "Invalidate all responses of the personas. Return their number.",
    },
    Topic {
        usage: "SOFTINVALIDATE <persona> [<persona> ...]",
        options: None,
        text: "Make all responses of the personas stale. Return their number.",
    },
    Topic {
        usage: "FORGET <user> [<user> ...]",
        options: None,
        text: "Invalidate all responses to the users. Return their number.",
    },
    Topic {
        usage: "FLUSH [<tier> ...]",
        options: None,
        text: "Invalidate all responses of the tiers, or of all. Return their number.",
    },
    Topic {
        usage: "KEY <tier> <user> <persona> <message>",
        options: Some(&options::KEY),
        text: "Return the name of the response's key.",
    },
    Topic {
        usage: "INSPECT <tier> <user> <persona> <message>",
        options: Some(&options::INSPECT),
        text: "Return the facts about a response, or null.",
    },
    Topic {
        usage: "PERSONAS",
        options: Some(&options::PERSONAS),
        text: "Return a cursor, and some personas with their counters.",
    },
    Topic {
        usage: "STATS [<persona>]",
        options: None,
        text: "Return the counters of the server, or of a persona.",
    },
    Topic { usage: "HELP", options: None, text: "Print this help." },
];

const HEAD: &str = "CHATCACHE.<command> [<arg> [value] ...]. Commands are:";

const TAIL: [&str; 7] = [
    "Tiers, by the callers who share a response:",
    "    msg       all callers",
    "    persona   all who talk to the persona",
    "    session   one user",
    "    response  one user with one persona",
    "ID is for the tier session. The persona is the key of each command: clusters,",
    "ACLs and tracking go by it.",
];

/// The longest line, in bytes.
const WIDTH: usize = 78;

const INDENT: &str = "    ";

fn lines() -> Vec<String> {
    let topics = TOPICS.iter().flat_map(|topic| {
        let mut lines = vec![topic.usage.to_owned()];
        for option in topic.options.map(usages).unwrap_or_default() {
            match lines.last_mut() {
                Some(line) if line.len() + 1 + option.len() <= WIDTH => {
                    line.push(' ');
                    line.push_str(&option);
                }
                _ => lines.push(format!("{INDENT}{option}")),
            }
        }
        lines.push(format!("{INDENT}{}", topic.text));
        lines
    });
    std::iter::once(HEAD.to_owned()).chain(topics).chain(TAIL.map(str::to_owned)).collect()
}

/// Returns the options of a grammar as a manual writes them, in pieces between which a line may break.
fn usages(grammar: &Grammar) -> Vec<String> {
    let pieces = |group: &'static [Word]| {
        let needed = group.iter().any(|word| grammar.required.contains(word));
        let (open, close) = if needed { ("", "") } else { ("[", "]") };
        let last = group.len().saturating_sub(1);
        group.iter().enumerate().map(move |(n, word)| {
            let before = if n == 0 { open } else { "" };
            let after = if n == last { close } else { " |" };
            format!("{before}{}{after}", usage(*word))
        })
    };
    grammar.groups().flat_map(pieces).collect()
}

fn usage(word: Word) -> String {
    let token = word.token();
    match word.spec().value {
        Value::None => token.to_owned(),
        Value::DraftAndOffset => format!("{token} <draft> <offset>"),
        Value::String | Value::Integer | Value::UnixTime => {
            format!("{token} <{}>", word.spec().name.to_string_lossy())
        }
    }
}

impl Command for Help {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.help",
        summary: c"Prints the commands of the module",
        complexity: c"O(1)",
        tips: None,
        flags: c"readonly fast allow-loading allow-stale",
        arity: 1,
        keys: KeySpec::None,
        args: Vec::new,
    };

    fn run(ctx: &Ctx<'_>, _: Args<'_>) -> Outcome {
        let lines = lines();
        ctx.reply_array(lines.len());
        for line in lines {
            // No line has a zero byte.
            ctx.reply_status(&CString::new(line).unwrap_or_default());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_prints_the_options_of_a_command_within_the_width() {
        let lines = lines();
        assert!(lines.iter().all(|line| line.is_ascii() && line.len() <= WIDTH), "{lines:#?}");
        let start = lines.iter().position(|line| line.starts_with("SET ")).unwrap();
        assert_eq!(
            lines[start..start + 5],
            [
                "SET <tier> <user> <persona> <message> <response> [ID <id>] [EX <seconds> |",
                "    PX <milliseconds> | EXAT <unix-time-seconds> |",
                "    PXAT <unix-time-milliseconds> | KEEPTTL] [NX | XX]",
                "    [STALE <stale-milliseconds>] [TOKEN <token>] [COST <cost-milliseconds>]",
                "    Store a response, by default for the tier's TTL.",
            ]
        );
        assert!(
            lines.contains(&"RELEASE <tier> <user> <persona> <message> [ID <id>] TOKEN <token>".to_owned())
        );
    }
}
