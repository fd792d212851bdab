//! Charts as SVG files in target/bench.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, Rectangle, Text};
use plotters::prelude::{IntoLogRange, LineSeries, PathElement};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, Color, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE};

use crate::report::figure;
use testkit::bench::output;

const OURS: RGBColor = RGBColor(0, 114, 178);
const OURS_TOO: RGBColor = RGBColor(86, 180, 233);
const OTHER: RGBColor = RGBColor(120, 120, 120);
const OTHER_TOO: RGBColor = RGBColor(180, 180, 180);
const THIRD: RGBColor = RGBColor(213, 94, 0);

const FONT: &str = "sans-serif";
const WIDTH: i32 = 860;
const BAR: i32 = 26;
const BARS_FROM: i32 = 330;
const BARS_TO: i32 = 740;
const HEAD: i32 = 50;

pub struct Bar {
    label: String,
    value: f64,
    colour: RGBColor,
}

impl Bar {
    pub fn ours(label: &str, value: f64) -> Bar {
        Bar { label: label.to_owned(), value, colour: OURS }
    }

    pub fn other(label: &str, value: f64) -> Bar {
        Bar { label: label.to_owned(), value, colour: OTHER }
    }
}

/// Bars as long as their values.
pub fn bars(name: &str, title: &str, bars: &[Bar]) {
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    draw_bars(name, title, bars, |value| value / most);
}

/// Bars as long as the logarithms of their values: each is told by its figure.
pub fn log_bars(name: &str, title: &str, bars: &[Bar]) {
    let values = || bars.iter().map(|bar| bar.value.max(f64::MIN_POSITIVE).log10());
    let least = values().fold(f64::INFINITY, f64::min).floor() - 0.5;
    let most = values().fold(f64::NEG_INFINITY, f64::max);
    let part = move |value: f64| (value.max(f64::MIN_POSITIVE).log10() - least) / (most - least);
    draw_bars(name, &format!("{title} (logarithmic)"), bars, part);
}

fn draw_bars(name: &str, title: &str, bars: &[Bar], part: impl Fn(f64) -> f64) {
    let height = HEAD + BAR * bars.len() as i32 + 12;
    draw(name, height, |area| {
        area.draw(&Text::new(title.to_owned(), (16, 14), (FONT, 18).into_font()))?;
        for (at, bar) in bars.iter().enumerate() {
            let top = HEAD + BAR * at as i32;
            let end = BARS_FROM + (part(bar.value) * f64::from(BARS_TO - BARS_FROM)) as i32;
            let middle = top + BAR / 2 - 2;
            area.draw(&Text::new(bar.label.clone(), (BARS_FROM - 8, middle), beside(HPos::Right)))?;
            let corners = [(BARS_FROM, top), (end.max(BARS_FROM + 1), top + BAR - 6)];
            area.draw(&Rectangle::new(corners, bar.colour.filled()))?;
            area.draw(&Text::new(figure(bar.value), (end + 8, middle), beside(HPos::Left)))?;
        }
        Ok(())
    });
}

fn beside(side: HPos) -> TextStyle<'static> {
    TextStyle::from((FONT, 14).into_font()).pos(Pos::new(side, VPos::Center))
}

pub struct Line {
    label: String,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
}

impl Line {
    fn new(label: &str, points: Vec<(f64, f64)>, colour: RGBColor) -> Line {
        Line { label: label.to_owned(), points, colour }
    }

    pub fn ours(label: &str, points: Vec<(f64, f64)>) -> Line {
        Line::new(label, points, OURS)
    }

    pub fn ours_too(label: &str, points: Vec<(f64, f64)>) -> Line {
        Line::new(label, points, OURS_TOO)
    }

    pub fn other(label: &str, points: Vec<(f64, f64)>) -> Line {
        Line::new(label, points, OTHER)
    }

    pub fn other_too(label: &str, points: Vec<(f64, f64)>) -> Line {
        Line::new(label, points, OTHER_TOO)
    }

    pub fn third(label: &str, points: Vec<(f64, f64)>) -> Line {
        Line::new(label, points, THIRD)
    }
}

pub struct Axes<'a> {
    pub x: &'a str,
    pub y: &'a str,
}

/// Lines over two logarithmic axes.
pub fn lines(name: &str, title: &str, axes: Axes<'_>, lines: &[Line]) {
    let all = || lines.iter().flat_map(|line| &line.points);
    let least = |get: fn(&(f64, f64)) -> f64| all().map(get).fold(f64::INFINITY, f64::min);
    let most = |get: fn(&(f64, f64)) -> f64| all().map(get).fold(f64::MIN_POSITIVE, f64::max);
    let across = (least(|point| point.0)..most(|point| point.0)).log_scale();
    // Above the lines there is room for their names.
    let up = (least(|point| point.1) * 0.5..most(|point| point.1) * 10.0).log_scale();
    draw(name, 440, |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, (FONT, 18))
            .margin(16)
            .margin_right(40)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_labels(6)
            .x_desc(axes.x)
            .y_desc(axes.y)
            .x_label_formatter(&|value| figure(*value))
            .y_label_formatter(&|value| figure(*value))
            .label_style((FONT, 13))
            .draw()?;
        for line in lines {
            let style = ShapeStyle::from(line.colour).stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))?
                .label(&line.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            chart
                .draw_series(line.points.iter().map(|&point| Circle::new(point, 3, line.colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font((FONT, 13))
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .draw()
    });
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), plotters::drawing::DrawingAreaErrorKind<std::io::Error>>;

fn draw(name: &str, height: i32, on: impl FnOnce(&Area<'_>) -> Drawn) {
    let path = output::directory().join(format!("{name}.svg"));
    let area = SVGBackend::new(&path, (WIDTH as u32, height as u32)).into_drawing_area();
    let drawn = area.fill(&WHITE).and_then(|()| on(&area)).and_then(|()| area.present());
    drawn.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
