//! A page: a server, and its blocks in their order.

use std::path::Path;
use std::process::Command;
use testkit::Server;

use super::expected::Names;
use super::markdown::{self, Block, Kind};
use super::python::Python;
use super::redis_cli::Sessions;
use super::root;

/// Runs all blocks of a page; the first that fails is told with its line.
#[track_caller]
pub fn run(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let blocks = markdown::blocks(&text).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
    if blocks.iter().all(|block| block.kind == Kind::NotRun) {
        return;
    }
    let server = Server::start();
    let mut page = Page {
        port: server.port(),
        names: Names::default(),
        sessions: Sessions::new(server.port()),
        python: None,
        printed: None,
    };
    for block in &blocks {
        if let Err(wrong) = page.run(block) {
            panic!("{}:{}: {wrong}", path.display(), block.line);
        }
    }
}

struct Page {
    port: u16,
    names: Names,
    sessions: Sessions,
    python: Option<Python>,
    /// The output of the last block.
    printed: Option<String>,
}

impl Page {
    fn run(&mut self, block: &Block) -> Result<(), String> {
        let text = block.text.replace("6379", &self.port.to_string());
        match block.kind {
            Kind::Redis => self.sessions.run(&text, &mut self.names),
            Kind::Python => {
                let python = self.python.get_or_insert_with(Python::start);
                self.printed = Some(python.run(&text)?);
                Ok(())
            }
            Kind::Sh => {
                self.printed = Some(run_sh(&self.names.fill(&text))?);
                Ok(())
            }
            Kind::Conf => start_with(&block.text),
            Kind::Output => match self.printed.take() {
                Some(printed) if self.names.agree(&text, &printed) => Ok(()),
                Some(printed) => Err(format!("--- expected:\n{text}--- got:\n{printed}")),
                None => Err("no block before this one has printed anything".to_owned()),
            },
            Kind::NotRun => Ok(()),
        }
    }
}

fn run_sh(script: &str) -> Result<String, String> {
    let mut bash = Command::new("bash");
    let output =
        bash.args(["-euo", "pipefail", "-c", script]).current_dir(root()).output().expect("start bash");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    Err(format!("{}\n{printed}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// A server with these lines in its redis.conf, the module loaded as they say, or without arguments.
fn start_with(lines: &str) -> Result<(), String> {
    let mut builder = Server::builder();
    for line in lines.lines() {
        match line.strip_prefix("loadmodule /path/to/libchatcache.so") {
            Some(args) => builder = builder.module_args(&args.split_whitespace().collect::<Vec<_>>()),
            None => builder = builder.config(line),
        }
    }
    builder.try_start().map(drop)
}
