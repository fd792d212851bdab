//! The view on screens of several sizes.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::app::Action;
use crate::personas::{Census, Persona};
use crate::server::{About, Reading};

/// A look: at this second, with so many hits, misses and entries.
fn reading(start: Instant, second: u64, hits: u64, misses: u64) -> Reading {
    let at = start + Duration::from_secs(second);
    let stats = [
        ("hits", hits),
        ("hits-msg", hits / 2),
        ("hits-persona", hits / 2),
        ("misses", misses),
        ("stale-hits", 0),
        ("coalesced", 0),
        ("saved-ms", hits * 500),
        ("entries", 12_345),
        ("personas", 2),
        ("raw-bytes", 10 << 20),
        ("stored-bytes", 5 << 20),
        ("waiters", 17),
        ("leases", 3),
        ("sets", misses),
        ("dropped", 4000),
        ("pending-reclaim", 1500),
    ];
    let persona = |name: &str, hits, misses| Persona {
        name: name.into(),
        entries: hits,
        bytes: 2048,
        hits,
        misses,
        read_at: at,
    };
    let personas = vec![persona("quiet", 20, 20), persona("helper", hits, misses)];
    Reading {
        at,
        stats: stats.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(),
        about: About {
            product: Some("Redis 7.0.15".to_owned()),
            role: Some("master".to_owned()),
            uptime: Some(Duration::from_secs(192)),
            used_memory: Some(20 << 20),
            max_memory: Some(512 << 20),
        },
        personas: Ok(Some(Census { personas, total: 2 })),
    }
}

/// An app that has looked twice: 100 requests in 2 s, of which 80 hit.
fn app() -> App {
    let start = Instant::now();
    let mut app = App::new("127.0.0.1:6379".to_owned(), 0);
    app.take(Ok(reading(start, 0, 1000, 1000)));
    app.take(Ok(reading(start, 2, 1080, 1020)));
    app
}

/// The lines of the screen, without the blanks at their ends.
fn screen(app: &App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| draw(frame, app)).expect("draw in memory");
    let buffer = terminal.backend().buffer();
    let symbols: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
    symbols.chunks(usize::from(width)).map(|line| line.concat().trim_end().to_owned()).collect()
}

/// The first line that starts so.
#[track_caller]
fn line(screen: &[String], start: &str) -> String {
    let found = screen.iter().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no line starts with {start:?}:\n{}", screen.join("\n"))).clone()
}

/// The words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn a_usual_screen_shows_it_all() {
    let screen = screen(&app(), 80, 24);
    assert_eq!(screen[0], "chatcache 127.0.0.1:6379 db0  Redis 7.0.15  master  up 3m 12s");
    assert!(screen[1].starts_with(" answered without the model, of 50/s "), "{}", screen[1]);
    assert_eq!(words(&line(&screen, "all"))[..5], ["all", "80.0%", "ever", "51.4%", "40/s"]);
    assert_eq!(words(&line(&screen, "msg"))[..2], ["msg", "40.0%"]);
    assert!(line(&screen, "all").ends_with('▆'), "the newest share is at the right edge");
    let text = screen.join("\n");
    for figure in [
        "saved      9m 00s",
        "saving     20s/s",
        "entries    12.3k",
        "raw        10.0M",
        "stored     5.00M 0.50x",
        "memory     20.0M of 512M",
        "waiters    17",
        "leases     3",
        "sets       10/s",
        "dropped    4.00k +0/s",
        "reclaim    1.50k",
    ] {
        assert!(text.contains(figure), "no {figure:?} in\n{text}");
    }
    assert_eq!(words(&line(&screen, "persona ")).first(), Some(&"persona"));
    assert_eq!(words(&line(&screen, "helper")), ["helper", "50", "51.4%", "1.08k", "2.00K"]);
    assert_eq!(words(&line(&screen, "quiet")), ["quiet", "0", "50.0%", "20", "2.00K"]);
    assert!(screen[23].starts_with("q quit  p pause  s sort"), "{}", screen[23]);
}

#[test]
fn a_tall_screen_has_taller_charts() {
    let newest = |screen: &[String]| screen.iter().filter(|line| line.ends_with(['▆', '█'])).count();
    let app = app();
    assert_eq!(newest(&screen(&app, 80, 24)), 1);
    // 80 % of two lines, in eighths: 12 of 16, and the label is beside the lower one.
    let tall = screen(&app, 80, 50);
    let all = tall.iter().position(|line| line.starts_with("all")).expect("a row");
    assert!(tall[all].ends_with('█') && tall[all - 1].trim() == "▄", "{}\n{}", tall[all - 1], tall[all]);
    assert!(line(&tall, "helper").contains("50"), "and the personas are still there");
}

#[test]
fn what_the_module_does_not_tell_is_a_dash() {
    let screen = screen(&app(), 80, 24);
    assert_eq!(words(&line(&screen, "L1"))[..5], ["L1", "-", "ever", "-", "-/s"]);
    assert!(screen.join("\n").contains("compressed - "));
}

#[test]
fn before_the_second_look_there_are_no_rates() {
    let mut app = App::new("127.0.0.1:6379".to_owned(), 0);
    assert_eq!(screen(&app, 80, 24)[23], "connecting ...");
    app.take(Ok(reading(Instant::now(), 0, 1000, 1000)));
    let screen = screen(&app, 80, 24);
    assert_eq!(words(&line(&screen, "all")), ["all", "-", "ever", "50.0%", "-/s"]);
    assert_eq!(words(&line(&screen, "helper"))[1], "-");
}

#[test]
fn a_list_of_personas_that_is_still_being_read_is_not_said_to_be_empty() {
    let mut app = App::new("127.0.0.1:6379".to_owned(), 3);
    let mut look = reading(Instant::now(), 0, 1000, 1000);
    look.personas = Ok(None);
    app.take(Ok(look));
    assert!(line(&screen(&app, 80, 24), " personas of db3: ").contains(" reading the list "));
    app.take(Ok(reading(Instant::now(), 1, 1000, 1000)));
    line(&screen(&app, 80, 24), " 2 personas of db3 ");
}

#[test]
fn small_screens_show_what_matters_most() {
    let app = app();
    let narrow = screen(&app, 40, 24);
    assert!(line(&narrow, "all").contains("80.0%"));
    assert!(narrow.iter().any(|line| line.starts_with("saved")));
    let low = screen(&app, 80, 12);
    assert!(line(&low, "waited").contains("ever"));
    assert!(low[11].starts_with("q quit"));
    assert!(!low.iter().any(|line| line.starts_with("helper")));
    let least = screen(&app, 30, 6);
    assert!(line(&least, "all").contains("80.0%"));
    assert_eq!(screen(&app, 20, 3)[0], "needs 30x6");
}

#[test]
fn no_size_breaks_it() {
    let app = app();
    for width in [1, 29, 30, 31, 45, 61, 80, 200] {
        for height in (1..30).step_by(2) {
            screen(&app, width, height);
        }
    }
}

#[test]
fn a_lost_server_is_told_and_the_last_figures_stay() {
    let mut app = app();
    app.take(Err("Connection refused".to_owned()));
    let lost = screen(&app, 80, 24);
    assert_eq!(lost[23], "no answer: Connection refused (trying on)");
    assert!(lost.join("\n").contains("entries    12.3k"));
    assert_eq!(words(&line(&lost, "all"))[1], "-", "no rate without a server");
    assert_eq!(line(&lost, "all").chars().count(), 79, "and a gap at the right edge of the chart");
    // It comes back with its counters at 0: no rate until there are two looks at it.
    let start = Instant::now();
    app.take(Ok(reading(start, 10, 0, 0)));
    assert_eq!(words(&line(&screen(&app, 80, 24), "all"))[1], "-");
    app.take(Ok(reading(start, 11, 9, 1)));
    assert_eq!(words(&line(&screen(&app, 80, 24), "all"))[1], "90.0%");
}

#[test]
fn a_pause_holds_the_screen_still() {
    let mut app = app();
    let before = screen(&app, 80, 24);
    app.act(Action::Pause);
    app.take(Ok(reading(Instant::now(), 9, 9000, 9000)));
    let paused = screen(&app, 80, 24);
    assert_eq!(paused[1..], before[1..]);
    assert!(paused[0].ends_with("PAUSED"), "{}", paused[0]);
    app.act(Action::Pause);
    assert!(!screen(&app, 80, 24)[0].contains("PAUSED"));
}

#[test]
fn the_keys_sort_reverse_and_scroll() {
    let mut app = app();
    let first = |app: &App| {
        let screen = screen(app, 80, 30);
        let heads = screen.iter().position(|line| line.starts_with("persona") && line.contains("asked/s"));
        words(&screen[heads.expect("the heads") + 1]).first().map(|name| (*name).to_owned())
    };
    assert_eq!(first(&app).as_deref(), Some("helper"));
    app.act(Action::Reverse);
    assert_eq!(first(&app).as_deref(), Some("quiet"));
    app.act(Action::Reverse);
    app.act(Action::Scroll(1));
    assert_eq!(first(&app).as_deref(), Some("quiet"));
    app.act(Action::Scroll(10));
    assert_eq!(first(&app).as_deref(), Some("quiet"), "the last stays in sight");
    app.act(Action::Scroll(-1));
    assert_eq!(first(&app).as_deref(), Some("helper"));
    app.act(Action::Scroll(isize::MAX));
    assert_eq!(first(&app).as_deref(), Some("quiet"));
    app.act(Action::Scroll(isize::MIN));
    assert_eq!(first(&app).as_deref(), Some("helper"));
    for _ in 0..4 {
        app.act(Action::NextSort);
    }
    let by_name = screen(&app, 80, 30);
    assert!(by_name.iter().any(|line| line.starts_with("persona* ")), "the heads tell what sorts");
}

#[test]
fn rights_that_are_missing_are_told_where_the_personas_would_be() {
    let mut app = app();
    let mut look = reading(Instant::now(), 3, 1090, 1030);
    look.personas = Err("NOPERM this user has no permissions".to_owned());
    app.take(Ok(look));
    assert!(screen(&app, 80, 24).iter().any(|line| line == "NOPERM this user has no permissions"));
}
