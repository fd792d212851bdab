//! Python: a process that runs a page's blocks, one after the other, in one set of names.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

/// Reads a block's length and the block, runs it, and prints its output, then a line of the end.
const RUNNER: &str = r#"
import contextlib, io, sys, traceback
names = {"__name__": "__main__"}
while length := sys.stdin.readline():
    block, printed, end = sys.stdin.read(int(length)), io.StringIO(), "ok"
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(block, "block", "exec"), names)
        except BaseException:
            end = "failed"
            traceback.print_exc(file=printed)
    print(printed.getvalue() + "\n-- " + end + " --", flush=True)
"#;

pub struct Python {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Python {
    pub fn start() -> Python {
        let mut process = Command::new(INTERPRETER.as_str())
            .args(["-u", "-c", RUNNER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start Python");
        let input = process.stdin.take().expect("Python's input");
        let output = BufReader::new(process.stdout.take().expect("Python's output")).lines();
        Python { process, input, output }
    }

    /// Runs a block. Returns its output; if it raised, with the traceback, as the error.
    pub fn run(&mut self, block: &str) -> Result<String, String> {
        // Python counts characters, not bytes, once it has decoded its input.
        write!(self.input, "{}\n{block}", block.chars().count()).expect("write to Python");
        self.input.flush().expect("write to Python");
        let mut printed = String::new();
        loop {
            let line = self.output.next().expect("Python ended").expect("read from Python");
            match line.as_str() {
                "-- ok --" => return Ok(printed),
                "-- failed --" => return Err(printed),
                _ => printed = printed + &line + "\n",
            }
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A Python with the packages that the pages and dashboards/ import: `CHATCACHE_PYTHON`, or that of the PATH, or the system's,
/// for which apt-get installs it. Without one the tests fail: pages that nobody ran must not pass.
pub static INTERPRETER: LazyLock<String> = LazyLock::new(|| {
    let named = std::env::var("CHATCACHE_PYTHON").ok();
    let usual = ["python3", "/usr/bin/python3"].map(str::to_owned);
    let has_modules = |python: &String| {
        let tried = Command::new(python)
            .args(["-c", "import prometheus_client, redis"])
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    named.into_iter().chain(usual).find(has_modules).unwrap_or_else(|| {
        panic!("no Python here has redis-py and prometheus-client: `make setup-test` installs them")
    })
});
