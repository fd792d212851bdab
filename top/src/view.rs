//! Drawing. A small screen loses parts from the bottom up: first the personas, then the figures.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, RenderDirection, Row, Sparkline, Table};

use crate::app::{App, Link};
use crate::format::{self, NONE};
use crate::personas::{self, Direction, Sort};
use crate::stats::ROWS;

/// Less than this shows nothing of use.
const SMALLEST: (u16, u16) = (30, 6);

/// With fewer lines, the title counted, the personas are left out.
const LEAST_PERSONAS: u16 = 4;

/// Every so many lines of the screen make the charts one line taller.
const CHART_PER: u16 = 20;
const TALLEST_CHART: u16 = 4;

/// The widths of a row of the hit rates, but for its chart.
const LABEL: u16 = 9;
const NUMBER: u16 = 8;

/// From these widths on there is room for the rate, and for the share since the start.
const MEDIUM: u16 = 44;
const WIDE: u16 = 60;

/// A column of figures, label and value.
const FIGURE_LABEL: usize = 11;
const FIGURE: u16 = 26;

pub fn draw(frame: &mut Frame, app: &App) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let (width, height) = SMALLEST;
        frame.render_widget(Paragraph::new(format!("needs {width}x{height}")), area);
        return;
    }
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    frame.render_widget(header(app), head);
    frame.render_widget(footer(app), foot);

    let chart_height = (body.height / CHART_PER).clamp(1, TALLEST_CHART);
    let rates_height = (ROWS.len() as u16 * chart_height + 1).min(body.height);
    let figures = figures(app);
    let columns = (body.width / FIGURE).clamp(1, 3);
    let figures_height = figures.len().div_ceil(usize::from(columns)) as u16 + 1;
    let left = body.height - rates_height;
    let figures_height = if left < 2 { 0 } else { figures_height.min(left) };
    let left = left - figures_height;
    let personas_height = if left < LEAST_PERSONAS { 0 } else { left };
    let [rates_area, figures_area, personas_area] = Layout::vertical([
        Constraint::Length(rates_height),
        Constraint::Length(figures_height),
        Constraint::Length(personas_height),
    ])
    .areas(body);
    draw_rates(frame, app, chart_height, rates_area);
    draw_figures(frame, &figures, columns, figures_area);
    if personas_height > 0 {
        draw_personas(frame, app, personas_area);
    }
}

fn header(app: &App) -> Line<'static> {
    let mut spans = vec!["chatcache ".bold(), format!("{} db{}", app.address, app.database).into()];
    if let Some(last) = &app.last {
        let about = &last.about;
        let uptime = about.uptime.map(|uptime| format!("up {}", format::duration(uptime)));
        for part in [&about.product, &about.role, &uptime].into_iter().flatten() {
            spans.push(format!("  {part}").into());
        }
    }
    if app.paused {
        spans.push("  PAUSED".bold().yellow());
    }
    Line::from(spans)
}

/// The keys, or what is wrong with the server.
fn footer(app: &App) -> Line<'static> {
    match &app.link {
        Link::Lost(error) => {
            let error = format::name(error.as_bytes());
            Line::from(vec!["no answer: ".bold().red(), format!("{error} (trying on)").red()])
        }
        Link::Connecting => Line::from("connecting ..."),
        Link::Up => Line::from("q quit  p pause  s sort  r reverse  up/down scroll").dim(),
    }
}

fn titled(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(Line::from(title).bold())
}

fn draw_rates(frame: &mut Frame, app: &App, chart_height: u16, area: Rect) {
    let asked = app.rates.as_ref().and_then(|rates| rates.asked_per_second());
    let title = match asked {
        Some(asked) => format!(" answered without the model, of {}/s ", format::count(asked.round())),
        None => " answered without the model ".to_owned(),
    };
    let block = titled(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);

    let now = app.rates.as_ref().map(|rates| (rates.shares(), rates.rows_per_second()));
    let since_start = app.shares_since_start();
    // Columns that would leave the chart no room are left out.
    let ever_width = if area.width < WIDE { 0 } else { NUMBER + 6 };
    let rate_width = if area.width < MEDIUM { 0 } else { NUMBER + 3 };
    // Rows that do not fit are not drawn; a layout would squeeze them into each other.
    let lasts = inside.rows().skip(usize::from(chart_height) - 1).step_by(usize::from(chart_height));
    for (at, (row, line)) in ROWS.iter().zip(lasts).enumerate() {
        let share = now.and_then(|(shares, _)| shares[at]);
        let per_second = now.and_then(|(_, per_second)| per_second[at]);
        let ever = since_start.and_then(|shares| shares[at]);
        let [label, now_area, ever_area, rate_area, chart] = Layout::horizontal([
            Constraint::Length(LABEL),
            Constraint::Length(NUMBER),
            Constraint::Length(ever_width),
            Constraint::Length(rate_width),
            Constraint::Fill(1),
        ])
        .spacing(1)
        .areas(line);
        let style = if at == 0 { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
        frame.render_widget(Span::styled(row.label, style), label);
        frame.render_widget(Line::from(format::percent(share)).style(style).right_aligned(), now_area);
        let ever = format!("ever {}", format::percent(ever));
        frame.render_widget(Line::from(ever).dim().right_aligned(), ever_area);
        let rate = per_second.map_or_else(|| NONE.to_owned(), |rate| format::count(rate.round()));
        frame.render_widget(Line::from(format!("{rate}/s")).right_aligned(), rate_area);
        // The chart's own zero is an empty cell, as is a moment in which nobody asked.
        let permille = app.history.iter().map(|shares| shares[at].map(|share| (share * 1000.0) as u64));
        let chart_of = Sparkline::default()
            .data(permille.collect::<Vec<_>>())
            .max(1000)
            .direction(RenderDirection::RightToLeft)
            .absent_value_symbol(" ");
        let above = chart_height - 1;
        frame.render_widget(chart_of, Rect { y: chart.y - above, height: chart_height, ..chart });
    }
}

/// The figures, most wanted first: columns are filled from the left, and what is too much is cut off below.
fn figures(app: &App) -> Vec<(&'static str, String)> {
    let stats = app.last.as_ref().map(|last| &last.stats);
    let about = app.last.as_ref().map(|last| &last.about);
    let field = |name| stats.and_then(|stats| stats.get(name));
    let rate = |name| app.rates.as_ref().and_then(|rates| rates.per_second(name));
    let count = |value: Option<u64>| value.map_or_else(none, |value| format::count(value as f64));
    let bytes = |value: Option<u64>| value.map_or_else(none, format::bytes);
    let per_second =
        |value: Option<f64>| value.map_or_else(none, |v| format!("{}/s", format::count(v.round())));
    let of = |part: String, whole: String| if whole == NONE { part } else { format!("{part} of {whole}") };

    let saved = field("saved-ms").map(Duration::from_millis).map_or_else(none, format::duration);
    let saving =
        rate("saved-ms").map_or_else(none, |ms| format!("{}s/s", format::count((ms / 100.0).round() / 10.0)));
    let (raw, stored) = (field("raw-bytes"), field("stored-bytes"));
    let ratio = match (raw, stored) {
        (Some(raw), Some(stored)) if raw > 0 => format!(" {:.2}x", stored as f64 / raw as f64),
        _ => String::new(),
    };
    let dropped = match rate("dropped") {
        Some(rate) => format!("{} +{}/s", count(field("dropped")), format::count(rate.round())),
        None => count(field("dropped")),
    };
    vec![
        ("saved", saved),
        ("saving", saving),
        ("entries", count(field("entries"))),
        ("personas", count(field("personas"))),
        ("users", count(field("users"))),
        ("raw", bytes(raw)),
        ("stored", bytes(stored) + &ratio),
        ("compressed", count(field("compressed"))),
        ("L1", bytes(field("l1-bytes"))),
        ("memory", of(bytes(about.and_then(|a| a.used_memory)), bytes(about.and_then(|a| a.max_memory)))),
        ("waiters", count(field("waiters"))),
        ("leases", count(field("leases"))),
        ("sets", per_second(rate("sets"))),
        ("dropped", dropped),
        ("reclaim", count(field("pending-reclaim"))),
    ]
}

fn none() -> String {
    NONE.to_owned()
}

fn draw_figures(frame: &mut Frame, figures: &[(&str, String)], columns: u16, area: Rect) {
    if area.height == 0 {
        return;
    }
    let block = titled(" time, memory, waits ".to_owned());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let rows = figures.len().div_ceil(usize::from(columns));
    let areas = Layout::horizontal(vec![Constraint::Fill(1); usize::from(columns)]).split(inside);
    for (column, area) in figures.chunks(rows).zip(areas.iter()) {
        let line = |(label, value): &(&str, String)| {
            Line::from(vec![format!("{label:<FIGURE_LABEL$}").dim(), value.clone().into()])
        };
        frame.render_widget(Paragraph::new(column.iter().map(line).collect::<Vec<_>>()), *area);
    }
}

fn draw_personas(frame: &mut Frame, app: &App, area: Rect) {
    let lines = match &app.lines {
        Ok(lines) => lines,
        Err(error) => {
            let block = titled(" personas ".to_owned());
            frame.render_widget(Paragraph::new(format::name(error.as_bytes())).block(block), area);
            return;
        }
    };
    let database = app.database;
    let block = titled(match app.personas_total {
        None => format!(" personas of db{database}: reading the list "),
        Some(total) if total > lines.len() => {
            format!(" the {} busiest of {total} personas of db{database} ", lines.len())
        }
        Some(total) => format!(" {total} personas of db{database} "),
    });
    let shown = usize::from(area.height).saturating_sub(2);
    let head = |title: &str, sort| {
        let marked = match (app.sort == sort, app.direction) {
            (false, _) => return Span::raw(title.to_owned()).dim(),
            (true, Direction::Usual) => format!("{title}*"),
            (true, Direction::Reversed) => format!("{title}^"),
        };
        Span::raw(marked).bold()
    };
    let right = |span: Span<'static>| Line::from(span).right_aligned();
    let heads = Row::new([
        Line::from(head("persona", Sort::Name)),
        right(head("asked/s", Sort::Asked)),
        right(head("hits", Sort::Hits)),
        right(head("entries", Sort::Entries)),
        right(head("bytes", Sort::Bytes)),
    ]);
    let row = |line: &personas::Line| {
        let asked =
            line.asked_per_second.map_or_else(none, |rate| format::count((rate * 10.0).round() / 10.0));
        let persona = &line.persona;
        Row::new([
            Line::from(format::name(&persona.name)),
            right(asked.into()),
            right(format::percent(line.hit_share()).into()),
            right(format::count(persona.entries as f64).into()),
            right(format::bytes(persona.bytes).into()),
        ])
    };
    let rows = lines.iter().skip(app.scrolled).take(shown).map(row);
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(6),
    ];
    frame.render_widget(Table::new(rows, widths).header(heads).block(block), area);
}

#[cfg(test)]
#[path = "view/tests.rs"]
mod tests;
