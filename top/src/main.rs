//! A terminal view of a Redis with the module chatcache: `chatcache-top redis://127.0.0.1:6379`.
//!
//! One thread looks at the server, once an interval (`server`); this one draws what it has found (`view`) and
//! listens to keys. The rooms between are pure: `stats` and `personas` compare looks, `format` writes numbers,
//! `app` is what the screen shows.

mod app;
mod format;
mod personas;
mod server;
mod stats;
mod view;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGTERM};

use app::{Action, App};
use server::{Reading, Server};

/// Shows what a Redis with the module chatcache is doing: hit rates by tier and level, saved time, memory,
/// waiters, and the busiest personas. It only reads.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The server: redis://[user:password@]host[:port][/db], with ?protocol=resp3 for RESP3
    #[arg(env = "REDIS_URL", default_value = "redis://127.0.0.1:6379", hide_env_values = true)]
    url: String,
    /// Seconds between two looks
    #[arg(short, long, default_value_t = 1.0, value_parser = seconds)]
    interval: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds @ 0.1..=3600.0) => Ok(seconds),
        _ => Err("a number of seconds from 0.1 to 3600 is wanted".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let server = match Server::new(&arguments.url) {
        Ok(server) => server,
        Err(error) => return fail(&format!("the URL of the server: {error}")),
    };
    if !io::stdout().is_terminal() {
        return fail("this draws on a terminal, and the output is none; see CHATCACHE.STATS");
    }
    // A signal must leave the terminal as it was.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&ended)) {
            return fail(&format!("signals: {error}"));
        }
    }
    let app = App::new(server.address(), server.database());
    let looks = look_every(Duration::from_secs_f64(arguments.interval), server);
    match ratatui::run(|terminal| run(terminal, app, &looks, &ended)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("the terminal: {error}")),
    }
}

fn fail(reason: &str) -> ExitCode {
    eprintln!("chatcache-top: {reason}");
    ExitCode::FAILURE
}

/// Looks at the server for as long as anybody wants to know. A thread of its own: a server that does not
/// answer must not hold up the keys.
fn look_every(interval: Duration, mut server: Server) -> mpsc::Receiver<Result<Reading, String>> {
    let (sender, looks) = mpsc::channel();
    thread::spawn(move || {
        loop {
            let began = Instant::now();
            if sender.send(server.read()).is_err() {
                return;
            }
            thread::sleep(interval.saturating_sub(began.elapsed()));
        }
    });
    looks
}

/// The longest delay between a key or a reading and the screen.
const TICK: Duration = Duration::from_millis(50);

fn run(
    terminal: &mut DefaultTerminal,
    mut app: App,
    looks: &mpsc::Receiver<Result<Reading, String>>,
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut changed = true;
    while !ended.load(Ordering::Relaxed) {
        if changed {
            terminal.draw(|frame| view::draw(frame, &app))?;
        }
        changed = event::poll(TICK)?;
        if changed {
            // Any other event is a new size, or at least a reason to draw.
            if let Event::Key(key) = event::read()? {
                match action(key) {
                    Some(Action::Quit) => return Ok(()),
                    Some(action) => app.act(action),
                    None => {}
                }
            }
        }
        for look in looks.try_iter() {
            app.take(look);
            changed = true;
        }
    }
    Ok(())
}

fn action(key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Action::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Action::Quit),
        KeyCode::Char('p' | ' ') => Some(Action::Pause),
        KeyCode::Char('s') => Some(Action::NextSort),
        KeyCode::Char('r') => Some(Action::Reverse),
        KeyCode::Up | KeyCode::Char('k') => Some(Action::Scroll(-1)),
        KeyCode::Down | KeyCode::Char('j') => Some(Action::Scroll(1)),
        KeyCode::PageUp => Some(Action::Scroll(-10)),
        KeyCode::PageDown => Some(Action::Scroll(10)),
        KeyCode::Home => Some(Action::Scroll(isize::MIN)),
        KeyCode::End => Some(Action::Scroll(isize::MAX)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_the_last_line_of_the_screen_says() {
        let pressed = |code| action(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(pressed(KeyCode::Char('q')), Some(Action::Quit));
        assert_eq!(pressed(KeyCode::Char('p')), Some(Action::Pause));
        assert_eq!(pressed(KeyCode::Char('s')), Some(Action::NextSort));
        assert_eq!(pressed(KeyCode::Char('r')), Some(Action::Reverse));
        assert_eq!(pressed(KeyCode::Down), Some(Action::Scroll(1)));
        assert_eq!(pressed(KeyCode::PageUp), Some(Action::Scroll(-10)));
        assert_eq!(pressed(KeyCode::Char('c')), None);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(action(control_c), Some(Action::Quit), "raw mode makes Ctrl-C a key");
    }

    #[test]
    fn an_interval_is_a_sensible_number_of_seconds() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "nan", "inf", "1s", ""] {
            assert!(seconds(wrong).is_err(), "{wrong:?}");
        }
    }
}
