//! Sessions of the real redis-cli, each a process that lives as long as its page.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::expected::Names;

/// Echoed after each command, to mark the end of its reply.
const END: &str = "-- the end of a reply --";

/// The page's connections, by the names of their prompts.
pub struct Sessions {
    port: u16,
    open: BTreeMap<String, Session>,
}

struct Session {
    process: Child,
    replies: Lines<BufReader<ChildStdout>>,
}

impl Sessions {
    pub fn new(port: u16) -> Sessions {
        Sessions { port, open: BTreeMap::new() }
    }

    /// Runs a block; an account of the first reply that is not as expected.
    pub fn run(&mut self, block: &str, names: &mut Names) -> Result<(), String> {
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(options) = line.strip_prefix("$ redis-cli") {
                let options = options.split_whitespace().map(str::to_owned).collect();
                self.open.insert(String::new(), Session::open(self.port, options));
                continue;
            }
            let (prompt, command) = prompt(line).ok_or_else(|| format!("no command: {line}"))?;
            let mut expected = String::new();
            while let Some(reply) = lines.next_if(|line| prompt_of(line).is_none() && !line.starts_with("$ "))
            {
                expected.push_str(reply);
                expected.push('\n');
            }
            let port = self.port;
            let session =
                self.open.entry(prompt.to_owned()).or_insert_with(|| Session::open(port, Vec::new()));
            let actual = session.say(&names.fill(command));
            if !names.agree(&expected, &actual) {
                return Err(format!("{line}\n--- expected:\n{expected}--- got:\n{actual}"));
            }
        }
        Ok(())
    }
}

/// `ann> GET key`: the prompt's name and the command. A prompt with a port is the usual one.
fn prompt(line: &str) -> Option<(&str, &str)> {
    let (name, command) = line.split_once("> ")?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':'));
    let name = if name.contains(':') { "" } else { name };
    is_name.then_some((name, command))
}

fn prompt_of(line: &str) -> Option<&str> {
    prompt(line).map(|(name, _)| name)
}

impl Session {
    fn open(port: u16, options: Vec<String>) -> Session {
        let mut process = Command::new("redis-cli")
            .args(["--no-raw", "-p", &port.to_string()])
            .args(options.iter().filter(|option| *option != "-p" && *option != "6379"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start redis-cli (`make setup` installs it)");
        let stdout = process.stdout.take().expect("redis-cli's output");
        Session { process, replies: BufReader::new(stdout).lines() }
    }

    /// Sends a command, and returns the output of redis-cli.
    fn say(&mut self, command: &str) -> String {
        let input = self.process.stdin.as_mut().expect("redis-cli's input");
        writeln!(input, "{command}\nECHO \"{END}\"").expect("write to redis-cli");
        let mut reply = String::new();
        loop {
            let line = self.replies.next().expect("redis-cli ended").expect("read from redis-cli");
            if line == format!("\"{END}\"") {
                return reply;
            }
            reply.push_str(&line);
            reply.push('\n');
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_prompt_is_a_name_and_nothing_else() {
    assert_eq!(prompt("> PING"), Some(("", "PING")));
    assert_eq!(prompt("127.0.0.1:6379> PING"), Some(("", "PING")));
    assert_eq!(prompt("ann> PING"), Some(("ann", "PING")));
    assert_eq!(prompt("1# \"a\" => \"b\""), None);
    assert_eq!(prompt("\"x> y\""), None);
}
