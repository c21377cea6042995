//! The figure of latency against load, as SVG. It is one figure of one kind, so it is written out and not made by a crate for all kinds.

use std::fmt::Write;

use super::axis::Axis;
use crate::cli::bench::report::latency;
use crate::cli::human;

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 540.0;
/// The corners of the field that the curves are in.
const LEFT: f64 = 88.0;
const RIGHT: f64 = 852.0;
const TOP: f64 = 112.0;
const BOTTOM: f64 = 472.0;

const INK: &str = "#1f2430";
const FAINT_INK: &str = "#5b6472";
const GRID: &str = "#e6e8ec";
const STYLE: &str = "text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px}\
                     .title{font-size:20px;font-weight:600}.label{font-size:12px;paint-order:stroke;stroke:#ffffff;stroke-width:4px;stroke-linejoin:round}";

/// The curves, from below: by colours that the colour-blind tell apart, and by the shapes of their points.
const CURVES: [Curve; 3] = [
    Curve { name: "p50", colour: "#0072b2", shape: Shape::Circle },
    Curve { name: "p99", colour: "#d55e00", shape: Shape::Square },
    Curve { name: "p99.9", colour: "#7a3e8e", shape: Shape::Triangle },
];

struct Curve {
    name: &'static str,
    colour: &'static str,
    shape: Shape,
}

#[derive(Clone, Copy)]
enum Shape {
    Circle,
    Square,
    Triangle,
}

/// What is drawn.
pub(super) struct Figure {
    pub(super) title: String,
    pub(super) subtitle: String,
    /// What the p99 had to stay below.
    pub(super) bound_micros: f64,
    pub(super) bound_shown: String,
    /// The highest rate that kept it.
    pub(super) highest: f64,
    /// By rising rate.
    pub(super) points: Vec<Point>,
}

/// One step.
pub(super) struct Point {
    /// Requests a second that were asked for.
    pub(super) rate: f64,
    /// p50, p99 and p99.9.
    pub(super) micros: [u64; CURVES.len()],
    /// Whether the bound was kept, all was answered and nearly nothing failed. If not, the points are hollow.
    pub(super) is_kept: bool,
}

/// Where numbers are.
struct Axes {
    rate: Axis,
    micros: Axis,
}

impl Figure {
    /// The file.
    pub(super) fn svg(&self) -> String {
        let axes = self.axes();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
             <title>{}: {}</title>\n<style>{STYLE}</style>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n",
            escaped(&self.title),
            escaped(&self.subtitle)
        );
        text(&mut svg, (LEFT, 36.0), INK, "class=\"title\"", &self.title);
        text(&mut svg, (LEFT, 59.0), FAINT_INK, "", &self.subtitle);
        legend(&mut svg);
        axes.draw(&mut svg);
        self.draw_limits(&mut svg, &axes);
        (0..CURVES.len()).for_each(|index| self.draw_curve(&mut svg, &axes, index));
        self.label_limits(&mut svg, &axes);
        svg += "</svg>\n";
        svg
    }

    fn axes(&self) -> Axes {
        let micros = || self.points.iter().flat_map(|point| point.micros).map(|micros| micros.max(1) as f64);
        let least = micros().fold(self.bound_micros, f64::min);
        // The bound's label stands above its line.
        let most = micros().fold(self.bound_micros * 1.2, f64::max);
        let fastest = self.points.iter().map(|point| point.rate).fold(self.highest, f64::max);
        Axes { rate: Axis::linear(fastest, (LEFT, RIGHT)), micros: Axis::logarithmic(least, most, (BOTTOM, TOP)) }
    }

    /// Where the highest rate and the bound are.
    fn limits(&self, axes: &Axes) -> (f64, f64) {
        (axes.rate.place(self.highest), axes.micros.place(self.bound_micros))
    }

    /// The bound and the highest rate that kept it, as lines across.
    fn draw_limits(&self, svg: &mut String, axes: &Axes) {
        let (x, y) = self.limits(axes);
        let dashed = format!("stroke=\"{FAINT_INK}\" stroke-width=\"1\" stroke-dasharray=\"5 4\"");
        line(svg, (LEFT, y), (RIGHT, y), &dashed);
        line(svg, (x, TOP), (x, BOTTOM), &dashed);
    }

    /// Over the curves, with an edge that keeps them readable.
    fn label_limits(&self, svg: &mut String, axes: &Axes) {
        let (x, y) = self.limits(axes);
        text(svg, (LEFT + 8.0, y - 7.0), FAINT_INK, "class=\"label\"", &self.bound_shown);
        let highest = format!("highest: {} a second", human::count(self.highest.round() as u64));
        text(svg, (x - 8.0, BOTTOM - 10.0), FAINT_INK, "class=\"label\" text-anchor=\"end\"", &highest);
    }

    fn draw_curve(&self, svg: &mut String, axes: &Axes, index: usize) {
        let Curve { name, colour, shape } = CURVES[index];
        let place = |point: &Point| (axes.rate.place(point.rate), axes.micros.place(point.micros[index].max(1) as f64));
        let path: Vec<String> = self.points.iter().map(place).map(corner).collect();
        let path = path.join(" ");
        put(svg, format_args!("<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        for point in &self.points {
            let fill = if point.is_kept { colour } else { "#ffffff" };
            let told = format!(
                "{name} at {} a second: {}",
                human::count(point.rate.round() as u64),
                latency(point.micros[index])
            );
            mark(svg, shape, place(point), (colour, fill), &told);
        }
    }
}

impl Axes {
    fn draw(&self, svg: &mut String) {
        let grid = format!("stroke=\"{GRID}\" stroke-width=\"1\"");
        for micros in self.micros.ticks() {
            let y = self.micros.place(micros);
            line(svg, (LEFT, y), (RIGHT, y), &grid);
            text(svg, (LEFT - 10.0, y + 4.5), FAINT_INK, "text-anchor=\"end\"", &tick_of(micros));
        }
        for rate in self.rate.ticks().into_iter().filter(|rate| self.rate.has(*rate)) {
            let x = self.rate.place(rate);
            line(svg, (x, TOP), (x, BOTTOM), &grid);
            let shown = if rate.fract() == 0.0 { human::count(rate as u64) } else { rate.to_string() };
            text(svg, (x, BOTTOM + 20.0), FAINT_INK, "text-anchor=\"middle\"", &shown);
        }
        line(svg, (LEFT, BOTTOM), (RIGHT, BOTTOM), &format!("stroke=\"{FAINT_INK}\" stroke-width=\"1\""));
        let middle = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
        text(svg, (middle.0, BOTTOM + 48.0), INK, "text-anchor=\"middle\"", "load (requests asked for each second)");
        let turned = format!("text-anchor=\"middle\" transform=\"rotate(-90 24 {})\"", middle.1);
        text(svg, (24.0, middle.1), INK, &turned, "latency from the intended start (logarithmic)");
    }
}

fn legend(svg: &mut String) {
    let mut x = LEFT + 6.0;
    let y = 86.0;
    for Curve { name, colour, shape } in CURVES {
        line(svg, (x - 6.0, y), (x + 22.0, y), &format!("stroke=\"{colour}\" stroke-width=\"2\""));
        mark(svg, shape, (x + 8.0, y), (colour, colour), name);
        text(svg, (x + 30.0, y + 4.5), INK, "", name);
        x += 92.0;
    }
    mark(svg, Shape::Circle, (x + 8.0, y), (FAINT_INK, "#ffffff"), "hollow");
    text(svg, (x + 22.0, y + 4.5), FAINT_INK, "", "hollow: the rate was not kept");
}

/// A point, which tells what it is where a pointer rests on it.
fn mark(svg: &mut String, shape: Shape, (x, y): (f64, f64), (stroke, fill): (&str, &str), told: &str) {
    let (name, form) = match shape {
        Shape::Circle => ("circle", format!("cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"")),
        Shape::Square => ("rect", format!("x=\"{:.1}\" y=\"{:.1}\" width=\"8.4\" height=\"8.4\"", x - 4.2, y - 4.2)),
        Shape::Triangle => {
            let corners = [(x, y - 5.6), (x + 5.2, y + 3.8), (x - 5.2, y + 3.8)];
            ("polygon", format!("points=\"{}\"", corners.map(corner).join(" ")))
        }
    };
    let (told, stroke) = (escaped(told), format!("stroke=\"{stroke}\" stroke-width=\"1.8\""));
    put(svg, format_args!("<{name} {form} fill=\"{fill}\" {stroke}><title>{told}</title></{name}>"));
}

fn corner((x, y): (f64, f64)) -> String {
    format!("{x:.1},{y:.1}")
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), stroke: &str) {
    put(svg, format_args!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {stroke}/>"));
}

fn text(svg: &mut String, (x, y): (f64, f64), colour: &str, attributes: &str, words: &str) {
    let words = escaped(words);
    put(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\" {attributes}>{words}</text>"));
}

fn put(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("a string takes all");
}

/// A round latency, without a fraction that says nothing.
fn tick_of(micros: f64) -> String {
    match micros {
        ..1_000.0 => format!("{micros} µs"),
        ..1_000_000.0 => format!("{} ms", micros / 1e3),
        _ => format!("{} s", micros / 1e6),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(points: Vec<Point>) -> Figure {
        Figure {
            title: "Latency against load".to_owned(),
            subtitle: "workload <a> & b".to_owned(),
            bound_micros: 5_000.0,
            bound_shown: "p99 below 5 ms".to_owned(),
            highest: 1_000.0,
            points,
        }
    }

    fn point(rate: f64, micros: [u64; 3], is_kept: bool) -> Point {
        Point { rate, micros, is_kept }
    }

    #[test]
    fn every_point_is_drawn_and_those_that_were_not_kept_are_hollow() {
        let points = vec![point(500.0, [300, 900, 2_000], true), point(1_100.0, [700, 9_000, 40_000], false)];
        let svg = figure(points).svg();
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains("p99 at 1,100 a second: 9.0 ms") && svg.contains("p50 at 500 a second: 300 µs"), "{svg}");
        assert_eq!(svg.matches("fill=\"#ffffff\" stroke=\"#d55e00\"").count(), 1, "{svg}");
        assert!(svg.contains("highest: 1,000 a second") && svg.contains("p99 below 5 ms"), "{svg}");
    }

    #[test]
    fn what_is_named_by_others_cannot_break_the_file() {
        let svg = figure(Vec::new()).svg();
        assert!(svg.contains("workload &lt;a&gt; &amp; b") && !svg.contains("<a>"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
