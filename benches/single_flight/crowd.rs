//! 1,000 callers in 8 processes, from outside: they begin at one moment, and what happens to them is noted.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::caller::{self, Way};
use testkit::bench::server::{PATIENCE, Server};

pub const PROCESSES: usize = 8;
pub const CONNECTIONS: usize = 125;

/// When the accident strikes, after the first call of the model began.
pub const ACCIDENT_AFTER: Duration = Duration::from_millis(250);

/// The accident of the caller that asks the model first.
#[derive(Clone, Copy, PartialEq)]
pub enum Accident {
    None,
    /// SIGKILL to its process: its connections close.
    Killed,
    /// A caller before all others holds the lease, and says nothing more on a connection that stays open.
    Silent,
}

pub struct Case {
    pub name: &'static str,
    pub way: Way,
    pub accident: Accident,
    /// The highest number of calls of the model.
    pub calls: Option<usize>,
    /// The time within which all callers get the response.
    pub goal: Option<Duration>,
}

/// The result of a crowd.
pub struct Run {
    pub calls: usize,
    pub served: usize,
    pub expected: usize,
    pub took: Duration,
    pub commands: u64,
}

/// A process of the crowd; it is gone when this is.
struct Process {
    child: Child,
    stdin: ChildStdin,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of a process, with its time.
struct Said {
    process: usize,
    line: String,
    at: Instant,
}

pub fn run(server: &Server, case: &Case, prompt: &str) -> Run {
    let (mut processes, said) = start(server, case.way, prompt);
    let hear = || said.recv_timeout(PATIENCE).expect("a process of the crowd says something");
    for _ in 0..PROCESSES {
        assert_eq!(hear().line, "ready");
    }
    let commands = server.info::<u64>("total_commands_processed");
    let mut silent = server.connect();
    let begun = Instant::now();
    if case.accident == Accident::Silent {
        let lease = caller::fetch_command(prompt).query::<Vec<Option<String>>>(&mut silent).expect("FETCH");
        assert_eq!(lease[0].as_deref(), Some("lease"));
    }
    for process in &mut processes {
        process.stdin.write_all(b"go\n").expect("tell the crowd to begin");
    }
    let mut left = PROCESSES;
    let calls = usize::from(case.accident == Accident::Silent);
    let mut run =
        Run { calls, served: 0, expected: PROCESSES * CONNECTIONS, took: begun.elapsed(), commands };
    let mut victim = None;
    while left > 0 {
        let said = hear();
        if said.line == "calling" {
            run.calls += 1;
            if case.accident == Accident::Killed && victim.is_none() {
                thread::sleep((said.at + ACCIDENT_AFTER).saturating_duration_since(Instant::now()));
                let _ = processes[said.process].child.kill();
                victim = Some(said.process);
                run.expected -= CONNECTIONS;
                left -= 1;
            }
        } else if let Some(served) = said.line.strip_prefix("done ")
            && victim != Some(said.process)
        {
            run.served += served.parse::<usize>().expect("the number of callers with a response");
            run.took = said.at - begun;
            left -= 1;
        }
    }
    run.commands = server.info::<u64>("total_commands_processed") - run.commands;
    run
}

fn start(server: &Server, way: Way, prompt: &str) -> (Vec<Process>, Receiver<Said>) {
    let (sender, said) = mpsc::channel();
    let start_one = |process| {
        let mut command = Command::new(std::env::current_exe().expect("this bench's path"));
        command.arg("--caller").arg(server.port.to_string()).arg(way.word()).arg(prompt);
        command.arg(CONNECTIONS.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start a process of the crowd");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let sender = sender.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(Said { process, line, at: Instant::now() });
            }
        });
        let stdin = child.stdin.take().expect("its input");
        Process { child, stdin }
    };
    ((0..PROCESSES).map(start_one).collect(), said)
}
